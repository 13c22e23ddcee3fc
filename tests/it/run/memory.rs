//! Four channels of 48 kHz in 96 MiB: the kernel ends whoever takes more (control groups, version 1 or 2).

use std::fs;

use serde_json::Value;

use super::config;
use super::group::Group;
use crate::broker::{Broker, Listener, has_mosquitto};
use crate::rig::tier;

const RATE_HZ: u64 = 48_000;
/// Each with two channels.
const N_SENSORS: u64 = 2;
const LIMIT_BYTES: u64 = 96 << 20;
/// Less than it needs: the limit is one.
const TOO_LITTLE_BYTES: u64 = 12 << 20;

#[test]
fn four_channels_of_48_khz_fit_into_96_mib() {
    if !has_mosquitto() {
        return;
    }
    let group = match Group::of_memory("enough", LIMIT_BYTES) {
        Ok(group) => group,
        Err(why) => return println!("skipped: no control group for memory ({why})"),
    };
    // Without optimisation it is slower than the samples come.
    let (pace, is_live) = if cfg!(debug_assertions) { ("max", false) } else { ("real", true) };
    let seconds: u64 = tier(5, 10, 300);
    let source = format!(
        "{{ type = \"synth\", seed = 3, rate_hz = {RATE_HZ}, axes = 2, speed_rpm = 1480, \
         duration_s = {seconds}, pace = \"{pace}\" }}"
    );
    let other = "[[asset.sensor]]\nid = \"other-end\"\nkind = \"vibration\"\naxes = [\"radial\"]";
    let sources = format!("{source}\n{other}\nsource = {source}");
    let broker = Broker::start("");
    let text = config(5, &sources, Some(&broker)) + "status_every_s = 1\n";
    let text = text.replace("[\"radial\"]", "[\"radial\", \"axial\"]");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("auscult.toml"), text).unwrap();
    let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/status");
    let status = group.start(folder.path()).0.wait().unwrap();
    assert!(status.success(), "{status}");
    listener.wait("the end", |got| got.payload.contains("stopped"));
    let told = |got: &crate::broker::Got| serde_json::from_str::<Value>(&got.payload).unwrap();
    let count = |name: &str| {
        let each = listener.got.iter().map(|got| told(got)["counters"][name].as_u64());
        each.flatten().max().unwrap_or(0)
    };
    let (n_produced, n_lost) = (count("samples_produced"), count("samples_lost"));
    let mib = group.peak_bytes() >> 20;
    println!("{n_produced} samples of two channels, {n_lost} lost, {mib} MiB at the most");
    assert_eq!(n_lost, 0);
    // The last status is a second old at the end.
    assert!(
        !is_live || n_produced >= N_SENSORS * RATE_HZ * (seconds - 3),
        "{n_produced} of {seconds} s"
    );
    let tight = Group::of_memory("tight", TOO_LITTLE_BYTES).unwrap();
    let status = tight.start(folder.path()).0.wait().unwrap();
    assert!(!status.success(), "{status} in {TOO_LITTLE_BYTES} bytes");
}
