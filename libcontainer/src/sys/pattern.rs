//! Regular expressions of libc, for ids. See regex(3). Allocates.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr;

use nix::libc;

/// An extended regular expression, as regex(7) has it.
pub struct Pattern(libc::regex_t);

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pattern").finish_non_exhaustive()
    }
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// What is wrong with it, in libc's words.
    pub fn compile(text: &str) -> Result<Pattern, String> {
        let text = CString::new(text).map_err(|_| "it has a NUL byte".to_owned())?;
        let mut compiled = MaybeUninit::<libc::regex_t>::zeroed();
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
        // SAFETY: the text ends with NUL and outlives the call, and what is compiled is valid for writing.
        let code = unsafe { libc::regcomp(compiled.as_mut_ptr(), text.as_ptr(), flags) };
        if code != 0 {
            return Err(reason(code, &compiled));
        }
        // SAFETY: regcomp has succeeded, so it is initialized; regfree(3) takes it where it is moved to, since it
        // only points to what was allocated.
        Ok(Pattern(unsafe { compiled.assume_init() }))
    }

    /// Whether it is found in `text`.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        // SAFETY: `self.0` has been compiled, the text ends with NUL, and no places of matches are asked for.
        let code = unsafe { libc::regexec(&raw const self.0, text.as_ptr(), 0, ptr::null_mut(), 0) };
        code == 0
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        // SAFETY: `self.0` has been compiled and is not used again.
        unsafe { libc::regfree(&raw mut self.0) };
    }
}

fn reason(code: libc::c_int, compiled: &MaybeUninit<libc::regex_t>) -> String {
    let mut text = [0_u8; 128];
    // SAFETY: `text` is valid for writing and its length is given; what has not been compiled is only for the
    // error's details, and zeroed before regcomp(3).
    unsafe { libc::regerror(code, compiled.as_ptr(), text.as_mut_ptr().cast(), text.len()) };
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn k39_k42_a_pattern_is_found_anywhere_unless_it_is_anchored() {
        let cases = [
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^(web|db)-[0-9]+$", "db-12", true),
            ("^(web|db)-[0-9]+$", "db-", false),
            ("", "abc", true),
        ];
        for (pattern, text, found) in cases {
            assert_eq!(Pattern::compile(pattern).unwrap().is_in(text), found, "{pattern} in {text}");
        }
        for wrong in ["(", "[a", "a\0"] {
            assert!(!Pattern::compile(wrong).unwrap_err().is_empty(), "{wrong:?}");
        }
    }
}
