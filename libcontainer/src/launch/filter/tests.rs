//! Filters are run here, by a machine of our own, and compared with libseccomp's.

mod machine;
mod oracle;
mod profiles;
mod program;
mod rules;
