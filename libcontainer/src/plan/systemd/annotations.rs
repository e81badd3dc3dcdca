//! Properties of the unit that annotations give, `org.systemd.property.NAME`. Pure.

use std::collections::HashMap;

use super::{Property, Value};
use crate::plan::invalid::{Findings, pointer_token};

/// What the names of such annotations begin with.
pub const PREFIX: &str = "org.systemd.property.";
const SPEC: &str = "config.md#annotations";

/// Properties that the driver itself decides about.
const DRIVERS: &[&str] =
    &["Delegate", "DefaultDependencies", "DeviceAllow", "DevicePolicy", "PIDs", "Slice", "Type"];

/// What may be given, and its type. A property that makes systemd do something to the host, such as start other
/// units or reboot, is not among them: a container's annotations are not the host's configuration.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "t",
        &[
            "BlockIOWeight",
            "CPUQuotaPerSecUSec",
            "CPUQuotaPeriodUSec",
            "CPUShares",
            "CPUWeight",
            "DefaultMemoryLow",
            "DefaultMemoryMin",
            "DefaultStartupMemoryLow",
            "IOWeight",
            "MemoryHigh",
            "MemoryLimit",
            "MemoryLow",
            "MemoryMax",
            "MemoryMin",
            "MemoryPressureThresholdUSec",
            "MemorySwapMax",
            "MemoryZSwapMax",
            "RuntimeMaxUSec",
            "RuntimeRandomizedExtraUSec",
            "StartupBlockIOWeight",
            "StartupCPUShares",
            "StartupCPUWeight",
            "StartupIOWeight",
            "StartupMemoryHigh",
            "StartupMemoryLow",
            "StartupMemoryMax",
            "StartupMemorySwapMax",
            "StartupMemoryZSwapMax",
            "TasksMax",
            "TimeoutStopUSec",
        ],
    ),
    (
        "s",
        &[
            "CollectMode",
            "Description",
            "KillMode",
            "ManagedOOMMemoryPressure",
            "ManagedOOMPreference",
            "ManagedOOMSwap",
            "MemoryPressureWatch",
            "OOMPolicy",
        ],
    ),
    ("i", &["FinalKillSignal", "KillSignal", "RestartKillSignal", "WatchdogSignal"]),
    (
        "b",
        &[
            "BlockIOAccounting",
            "CPUAccounting",
            "IOAccounting",
            "IPAccounting",
            "IgnoreOnIsolate",
            "MemoryAccounting",
            "MemoryZSwapWriteback",
            "SendSIGHUP",
            "SendSIGKILL",
            "TasksAccounting",
        ],
    ),
    ("u", &["ManagedOOMMemoryPressureLimit"]),
    ("ay", &["AllowedCPUs", "AllowedMemoryNodes", "StartupAllowedCPUs", "StartupAllowedMemoryNodes"]),
    (
        "as",
        &[
            "After",
            "Before",
            "DisableControllers",
            "Documentation",
            "PartOf",
            "Requisite",
            "RequiresMountsFor",
            "WantsMountsFor",
        ],
    ),
    (
        "a(st)",
        &[
            "BlockIODeviceWeight",
            "BlockIOReadBandwidth",
            "BlockIOWriteBandwidth",
            "IODeviceLatencyTargetUSec",
            "IODeviceWeight",
            "IOReadBandwidthMax",
            "IOReadIOPSMax",
            "IOWriteBandwidthMax",
            "IOWriteIOPSMax",
        ],
    ),
    ("a(iayu)", &["IPAddressAllow", "IPAddressDeny"]),
];

/// Adds to `properties` those that `annotations` give, sorted by name. They win over our defaults, and must not
/// contradict the config's own properties.
pub(super) fn add(
    annotations: &HashMap<String, String>,
    properties: &mut Vec<Property>,
    findings: &mut Findings,
) {
    let mut sorted: Vec<_> = annotations.iter().collect();
    sorted.sort();
    for (key, text) in sorted {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let at = format!("/annotations/{}", pointer_token(key));
        match read(name, text, properties) {
            Ok((name, value)) => {
                properties.retain(|property| property.name != name);
                properties.push(Property { optional: false, ..Property::at(&name, value, &at) });
            }
            Err(says) => findings.error(at, says, SPEC),
        }
    }
}

/// The property that an annotation gives, or what is wrong with it.
fn read(name: &str, text: &str, properties: &[Property]) -> Result<(String, Value), String> {
    // As people write it in unit files; on the bus all times are in microseconds.
    let in_seconds = name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U'));
    let full = in_seconds.map_or_else(|| name.to_owned(), |stem| format!("{stem}USec"));
    if DRIVERS.contains(&full.as_str()) {
        return Err(format!("sets {full}, which the runtime decides; remove it"));
    }
    let allowed = ALLOWED.iter().find(|(_, names)| names.contains(&full.as_str()));
    let Some((signature, _)) = allowed else {
        return Err(format!(
            "sets {full}, which is no property of a scope that a container may set; remove it, \
             or write its name as busctl shows it"
        ));
    };
    if let Some(said) = properties.iter().find(|property| property.name == full && !property.at.is_empty()) {
        return Err(format!("sets {full}, which {} says already; remove one of them", said.at));
    }
    let value = match in_seconds {
        None => Value::read(text, Some(signature))?,
        Some(_) => Value::read(text, None)?
            .seconds_to_microseconds()
            .ok_or("is no number of seconds; write, for example, 10 or 0.5")?,
    };
    Ok((full, value))
}
