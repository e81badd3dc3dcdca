//! Lists of numbers such as `0-3,7`, as configs name CPUs and memory nodes. Pure.

/// A list as a bit mask, lowest number first; an empty list is an empty mask. `what` names the things that are
/// listed, of which there are fewer than `limit`.
pub(super) fn mask(list: &str, limit: u32, what: &str) -> Result<Vec<u64>, String> {
    let mut mask: Vec<u64> = Vec::new();
    for range in list.split(',').filter(|_| !list.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(format!("{list:?} is not a list of {what} such as 0-3,7"));
        };
        if first > last || last >= limit {
            return Err(format!("{range:?} is not a range of {what} between 0 and {}", limit - 1));
        }
        for each in first..=last {
            let word = usize::try_from(each / u64::BITS).unwrap_or(0);
            if mask.len() <= word {
                mask.resize(word + 1, 0);
            }
            if let Some(word) = mask.get_mut(word) {
                *word |= 1 << (each % u64::BITS);
            }
        }
    }
    Ok(mask)
}

/// Digits only: `u32::from_str` also takes a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Everything in the list `inner`, as the kernel writes it, is in `outer` too. The kernel
/// reads more than this does, such as `0-30:1/2`: of what cannot be read nothing is claimed.
#[must_use]
pub(crate) fn is_within(inner: &str, outer: &str) -> bool {
    /// More than there are CPUs or memory nodes anywhere.
    const LIMIT: u32 = 1 << 16;
    let (Ok(inner), Ok(outer)) = (mask(inner, LIMIT, "numbers"), mask(outer, LIMIT, "numbers")) else {
        return true;
    };
    inner.iter().enumerate().all(|(i, bits)| bits & !outer.get(i).copied().unwrap_or_default() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c17_a_set_that_falls_back_on_its_parents_is_not_within_what_was_asked() {
        assert!(is_within("0-1", "0-3") && is_within("2,64", "0-64") && is_within("", "0"));
        assert!(!is_within("0-1", "1") && !is_within("64", "0-63"));
        assert!(is_within("3", "0-30:1/2"));
    }

    #[test]
    fn i09_p18_a_list_is_a_mask() {
        let mask = |list| mask(list, 1024, "nodes");
        assert_eq!(mask(""), Ok(vec![]));
        assert_eq!(mask("0-3,7"), Ok(vec![0b1000_1111]));
        assert_eq!(mask("64,0"), Ok(vec![1, 1]));
        assert_eq!(mask("1,1-2,2"), Ok(vec![0b110]));
        assert_eq!(mask("1023").unwrap().len(), 16);
        for bad in ["1024", "3-1", "a", "1,", ",", "-", "-1", "+1", "1-", "0-99999999999", " 1", "1-2-3"] {
            assert!(mask(bad).is_err(), "{bad:?}");
        }
    }
}
