//! `tmpcopyup` takes extended attributes along, file capabilities among them. Needs root and a /tmp that has them.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::ffi::CStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

use libcontainer::sys::copy::{attribute, attribute_names, set_attribute};
use libcontainer::{Bundle, Options, Store};
use serde_json::json;

/// Capabilities of a file as the kernel keeps them: version 2, effective, CAP_NET_RAW. See capabilities(7).
const NET_RAW: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn get(path: &Path, name: &CStr) -> Vec<u8> {
    let mut buffer = [0; 4096];
    attribute(File::open(path).unwrap().as_fd(), name, &mut buffer).unwrap().to_vec()
}

#[test]
fn m30_extended_attributes_and_capabilities_of_files_come_along() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("rootfs/data");
    for directory in ["rootfs", "rootfs/data", "rootfs/data/sub"] {
        fs::create_dir(place.path().join(directory)).unwrap();
    }
    fs::write(data.join("ping"), "program").unwrap();
    let large = vec![b'x'; 3000];
    let attributes: [(&str, &CStr, &[u8]); 5] = [
        ("ping", c"security.capability", NET_RAW),
        ("ping", c"user.large", &large),
        ("ping", c"trusted.empty", b""),
        ("sub", c"user.of-a-directory", b"1"),
        ("", c"user.of-the-top", b"2"),
    ];
    for (name, key, value) in attributes {
        set_attribute(File::open(data.join(name)).unwrap().as_fd(), key, value).unwrap();
    }
    let config = json!({
        "ociVersion": "1.2.0", "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
        "mounts": [{"destination": "/data", "type": "tmpfs", "options": ["tmpcopyup"]}],
    });
    fs::write(place.path().join("config.json"), config.to_string()).unwrap();
    let (bundle, store) = (Bundle::load(place.path()).unwrap(), Store::new(place.path().join("store")));
    let id = place.path().file_name().unwrap().to_str().unwrap().to_owned();
    let container = libcontainer::create(&store, &bundle, &Options::new(id)).unwrap();
    let copied = Path::new("/proc").join(container.state().pid.to_string()).join("root/data");
    let seen: Vec<_> = attributes.iter().map(|(name, key, _)| get(&copied.join(name), key)).collect();
    let mut names = [0; 4096];
    let file = File::open(copied.join("ping")).unwrap();
    let names = attribute_names(file.as_fd(), &mut names).unwrap();
    let count = names.split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")).count();
    container.delete(true).unwrap();
    let expected: Vec<_> = attributes.iter().map(|(_, _, value)| value.to_vec()).collect();
    assert_eq!((seen, count), (expected, 1));
}
