//! An IIO device in a fake tree, its buffer a fifo.
#![allow(clippy::disallowed_methods, reason = "a fake tree needs no crash safety")]

use std::fs::{create_dir_all, read_to_string, write};
use std::io::Write;
use std::process::Command;
use std::sync::Mutex;

use super::*;
use crate::types::{Origin, Quality, Stamp};

#[derive(Default)]
struct Still(Mutex<Span>);

impl Clock for Still {
    fn now(&self) -> Stamp {
        Stamp(self.monotonic().0)
    }
    fn monotonic(&self) -> Span {
        *self.0.lock().unwrap()
    }
}

/// A fake `adxl372`: three 12-bit axes, a time stamp, a fifo for its node.
struct Tree {
    root: tempfile::TempDir,
    feed: File,
    clock: Arc<Still>,
}

const DEVICE: &str = "sys/bus/iio/devices/iio:device0";

impl Tree {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dev = root.path().join(DEVICE);
        for sub in ["scan_elements", "buffer", "trigger"] {
            create_dir_all(dev.join(sub)).unwrap();
        }
        let set = |name: &str, value: &str| write(dev.join(name), value).unwrap();
        set("name", "adxl372\n");
        set("label", "pump-de\n");
        set("sampling_frequency", "400\n");
        set("sampling_frequency_available", "400 800 1600 3200 6400\n");
        set("in_accel_scale", "0.980665\n");
        set("in_accel_y_scale", "2.0\n");
        set("in_accel_z_offset", "100\n");
        for (k, axis) in ["x", "y", "z"].into_iter().enumerate() {
            set(&format!("scan_elements/in_accel_{axis}_en"), "0\n");
            set(&format!("scan_elements/in_accel_{axis}_index"), &format!("{k}\n"));
            set(&format!("scan_elements/in_accel_{axis}_type"), "be:s12/16>>4\n");
        }
        set("scan_elements/in_timestamp_en", "1\n");
        set("scan_elements/in_timestamp_index", "3\n");
        set("scan_elements/in_timestamp_type", "le:s64/64>>0\n");
        set("buffer/enable", "0\n");
        set("buffer/length", "2\n");
        set("buffer/watermark", "1\n");
        set("trigger/current_trigger", "\n");
        create_dir_all(root.path().join("dev")).unwrap();
        let node = root.path().join("dev/iio:device0");
        assert!(Command::new("mkfifo").arg(&node).status().unwrap().success());
        let feed = OpenOptions::new().read(true).write(true).open(node).unwrap();
        Self { root, feed, clock: Arc::default() }
    }

    fn config(&self) -> Config {
        let root = self.root.path().to_owned();
        Config { device: "adxl372".to_owned(), rate_hz: 6400.0, root, ..Config::default() }
    }

    fn open(&self, config: &Config) -> Result<Iio, Error> {
        config.open(self.clock.clone())
    }

    fn attr(&self, name: &str) -> String {
        read_to_string(self.root.path().join(DEVICE).join(name)).unwrap().trim().to_owned()
    }

    fn set(&self, name: &str, value: &str) {
        write(self.root.path().join(DEVICE).join(name), value).unwrap();
    }

    fn send(&mut self, bytes: &[u8]) {
        self.feed.write_all(bytes).unwrap();
    }
}

/// A raw 12-bit value as the part stores it.
fn raw(value: i16) -> [u8; 2] {
    (value << 4).to_be_bytes()
}

fn frame() -> Frame {
    Frame::empty(Origin::new("pump", "de"), 1.0, Unit::Volt, 1)
}

#[test]
fn buffered_samples_come_out_in_m_s2_whatever_pieces_they_arrive_in() {
    let mut tree = Tree::new();
    let mut iio = tree.open(&tree.config()).unwrap();
    assert_eq!(tree.attr("buffer/enable"), "1");
    assert_eq!(tree.attr("buffer/length"), "25600");
    assert_eq!(tree.attr("buffer/watermark"), "640");
    assert_eq!(tree.attr("sampling_frequency"), "6400");
    assert_eq!(tree.attr("scan_elements/in_timestamp_en"), "0");
    assert_eq!(iio.info().identity, "adxl372,label=pump-de");
    let bytes: Vec<u8> = (0..10).flat_map(|k| [raw(k), raw(-k), raw(100 + k)]).flatten().collect();
    let mut out = Vec::new();
    let mut frame = frame();
    for piece in bytes.chunks(7) {
        tree.send(piece);
        if iio.read(&mut frame).unwrap() == Read::Frame {
            out.extend_from_slice(&frame.samples);
        }
    }
    let expect: Vec<f32> = (0..10)
        .flat_map(|k| [f64::from(k) * 0.980665, -2.0 * f64::from(k), f64::from(200 + k) * 0.980665])
        .map(|v| v as f32)
        .collect();
    assert_eq!(out, expect);
    drop(iio);
    assert_eq!(tree.attr("buffer/enable"), "0");
}

#[test]
fn axes_come_in_the_order_configured_and_time_stamps_tell_what_was_lost() {
    let mut tree = Tree::new();
    let channels = vec!["accel_z".to_owned(), "accel_x".to_owned()];
    let mut iio =
        tree.open(&Config { channels, timestamps: true, gain: 2.0, ..tree.config() }).unwrap();
    let mut scan = |x: i16, z: i16, t_ns: i64| {
        let bytes = [&raw(x)[..], &raw(z), &[0; 4], &t_ns.to_le_bytes()].concat();
        tree.feed.write_all(&bytes).unwrap();
    };
    let mut frame = frame();
    scan(1, 0, 0);
    scan(2, 0, 156_250);
    assert_eq!(iio.read(&mut frame).unwrap(), Read::Frame);
    assert_eq!(frame.n_lost, 0);
    let scale = 0.980665 * 2.0;
    let expect = [100.0 * scale, scale, 100.0 * scale, 2.0 * scale].map(|v: f64| v as f32);
    assert_eq!(frame.samples, expect);
    scan(3, 0, 156_250 * 5);
    assert_eq!(iio.read(&mut frame).unwrap(), Read::Frame);
    assert_eq!((frame.n_lost, frame.origin.first_sample), (3, 5));
    assert!(frame.quality.has(Quality::DROPOUT));
}

/// Scans with one axis and a time stamp, read at a time of ours; gives what was lost before each.
fn lost_by_stamps(tree: &mut Tree, scans: &[(f64, f64)]) -> Vec<u64> {
    let channels = vec!["accel_x".to_owned()];
    let mut iio = tree.open(&Config { channels, timestamps: true, ..tree.config() }).unwrap();
    let mut frame = frame();
    let mut read = |&(stamp_secs, our_secs): &(f64, f64)| {
        let stamp = Span::from_secs(stamp_secs).0;
        tree.feed.write_all(&[&raw(1)[..], &[0; 6], &stamp.to_le_bytes()].concat()).unwrap();
        *tree.clock.0.lock().unwrap() = Span::from_secs(our_secs);
        assert_eq!(iio.read(&mut frame).unwrap(), Read::Frame);
        frame.n_lost
    };
    scans.iter().map(&mut read).collect()
}

#[test]
fn time_stamps_are_of_a_clock_that_nobody_sets_where_the_device_has_it() {
    let mut tree = Tree::new();
    tree.set("current_timestamp_clock", "realtime\n");
    drop(tree.open(&tree.config()).unwrap());
    assert_eq!(tree.attr("current_timestamp_clock"), "realtime", "stamps are not used");
    // What the kernel kept while we were halted comes late, and the hole after it at once.
    let lost = lost_by_stamps(&mut tree, &[(5.0, 17.0), (15.0, 17.0)]);
    assert_eq!(tree.attr("current_timestamp_clock"), "monotonic");
    assert_eq!(lost, [0, 63_999]);
}

#[test]
fn a_wall_clock_that_is_set_loses_no_samples() {
    let mut tree = Tree::new();
    let year = 3.2e7;
    let lost = lost_by_stamps(
        &mut tree,
        &[
            (100.0, 1.0),
            // Lost in truth.
            (101.0, 2.0),
            // Set forward, and lost again after it.
            (year, 2.1),
            (year + 1.0, 3.1),
            // Set back, and forward again by less.
            (200.0, 3.2),
            (1200.0, 3.3),
            (1200.1, 3.4),
        ],
    );
    assert_eq!(lost, [0, 6399, 0, 6399, 0, 0, 639]);
}

#[test]
fn what_the_device_cannot_do_is_refused_with_what_it_can() {
    let tree = Tree::new();
    let check = |config: Config, expect: &str| {
        let error = tree.open(&config).err().unwrap();
        assert!(error.to_string().contains(expect), "{error}");
    };
    let named = |device: &str| Config { device: device.to_owned(), ..tree.config() };
    let one = |channel: &str| Config { channels: vec![channel.to_owned()], ..tree.config() };
    check(named(""), "device is empty");
    check(named("iio:device0"), "number changes");
    check(named("bmi160"), "there are: adxl372,label=pump-de");
    check(named("adxl372,label=fan"), "no such IIO device");
    check(one("gyro_x"), "it has accel_x, accel_y, accel_z");
    check(one("../../etc"), "names such as accel_x");
    check(Config { rate_hz: f64::INFINITY, ..tree.config() }, "rate_hz must be");
    check(Config { gain: 0.0, ..tree.config() }, "gain must be");
    tree.set("scan_elements/in_accel_x_type", "le:float32\n");
    check(tree.config(), "type `le:float32`");
    tree.set("scan_elements/in_accel_x_type", "le:s16/16\n");
    tree.set("in_accel_scale", "soon\n");
    check(tree.config(), "is `soon`");
}

#[test]
fn two_equal_parts_are_told_apart_by_label_and_never_by_chance() {
    let tree = Tree::new();
    let second = tree.root.path().join("sys/bus/iio/devices/iio:device1");
    create_dir_all(second.join("scan_elements")).unwrap();
    write(second.join("name"), "adxl372\n").unwrap();
    write(second.join("label"), "pump-nde\n").unwrap();
    let error = tree.open(&tree.config()).err().unwrap();
    assert!(matches!(error, Error::Refused { .. }));
    assert!(error.to_string().contains("2 devices answer to it"), "{error}");
    let config = Config { device: "adxl372,label=pump-de".to_owned(), ..tree.config() };
    assert_eq!(tree.open(&config).unwrap().info().identity, "adxl372,label=pump-de");
}

#[test]
fn a_device_that_falls_silent_or_goes_away_is_lost() {
    let mut tree = Tree::new();
    let mut iio = tree.open(&tree.config()).unwrap();
    let mut frame = frame();
    tree.send(&[raw(1), raw(2), raw(3)].concat());
    assert_eq!(iio.read(&mut frame).unwrap(), Read::Frame);
    assert_eq!(iio.read(&mut frame).unwrap(), Read::Quiet);
    *tree.clock.0.lock().unwrap() = Span::from_secs(3.0);
    let error = iio.read(&mut frame).unwrap_err();
    assert!(error.to_string().contains("no samples for 3.0 s"), "{error}");
    let Tree { root, feed, clock } = tree;
    drop(feed);
    let error = iio.read(&mut frame).unwrap_err();
    assert!(error.to_string().contains("the device is gone"), "{error}");
    drop((root, clock));
}
