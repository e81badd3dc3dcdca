//! Bundles that look at their own file system, and what they saw there.

use serde_json::{Value, json};
use spec_conformance::report::{Mount, PathFacts};
use spec_conformance::{Bundle, BundleBuilder, Report};

/// A bundle whose program looks at these paths.
pub fn looking(paths: &[&str]) -> BundleBuilder {
    let questions = paths.iter().flat_map(|path| ["--stat", path]);
    Bundle::new().args(["/bin/probe", "report"].into_iter().chain(questions))
}

/// A bind mount, for the config.
pub fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "source": source, "options": options})
}

/// The bundle with these mounts after its own.
pub fn mounted(bundle: BundleBuilder, mounts: impl IntoIterator<Item = Value>) -> BundleBuilder {
    mounts.into_iter().fold(bundle, |bundle, mount| bundle.push("/mounts", mount))
}

/// The mount on this point.
///
/// # Panics
/// There is none.
pub fn at<'r>(report: &'r Report, point: &str) -> &'r Mount {
    report.mount(point).unwrap_or_else(|| panic!("nothing is mounted on {point}: {:#?}", report.mounts))
}

/// What there is at this path.
///
/// # Panics
/// There is nothing.
pub fn facts<'r>(report: &'r Report, path: &str) -> &'r PathFacts {
    report.paths[path].present().unwrap_or_else(|| panic!("{path}: {:?}", report.paths[path]))
}
