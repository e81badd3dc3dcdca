//! Sockets that come with the call and are the program's: socket activation, see sd_listen_fds(3).

/// How many descriptors come, from 3 on, and the variables that tell the program of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// How many.
    pub(crate) count: u32,
    /// The variables.
    pub(crate) environment: Vec<String>,
}

/// What the environment of this process says of them.
pub(crate) fn sockets() -> Sockets {
    read(|name| std::env::var(name).ok(), std::process::id())
}

fn read(variable: impl Fn(&str) -> Option<String>, pid: u32) -> Sockets {
    // Variables that somebody forgot to remove are for another process.
    let ours = variable("LISTEN_PID").and_then(|text| text.parse().ok()) == Some(pid);
    let count = variable("LISTEN_FDS").filter(|_| ours).and_then(|text| text.parse().ok()).unwrap_or(0);
    if count == 0 {
        return Sockets::default();
    }
    // The first process of a pid namespace.
    let mut environment = vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()];
    environment.extend(variable("LISTEN_FDNAMES").map(|names| format!("LISTEN_FDNAMES={names}")));
    Sockets { count, environment }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_for_this_process_is_taken() {
        let said = |variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(other, _)| *other == name);
            read(|name| find(name).map(|(_, value)| (*value).to_owned()), 42)
        };
        let all = said(&[("LISTEN_PID", "42"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a:b")]);
        let told = ["LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=a:b"].map(str::to_owned).to_vec();
        assert_eq!(all, Sockets { count: 2, environment: told });
        for variables in [
            &[("LISTEN_PID", "43"), ("LISTEN_FDS", "2")][..],
            &[("LISTEN_FDS", "2")],
            &[("LISTEN_PID", "42")],
            &[("LISTEN_PID", "42"), ("LISTEN_FDS", "-1")],
            &[("LISTEN_PID", "42"), ("LISTEN_FDS", "0")],
        ] {
            assert_eq!(said(variables), Sockets::default(), "{variables:?}");
        }
    }
}
