//! Sound cards in a fake /proc and /sys.
#![allow(clippy::disallowed_methods, reason = "a fake tree needs no crash safety")]

use std::fmt::Write;
use std::fs::{create_dir_all, write};
use std::os::unix::fs::symlink;

use super::*;

/// Two equal USB accelerometers on the ports given, and a card of the mainboard.
fn tree(numbers: [u32; 3]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let sys = root.path().join("sys/class/sound");
    create_dir_all(&sys).unwrap();
    let mut list = String::new();
    for (k, number) in numbers.into_iter().enumerate() {
        let port = format!("1-1.{k}");
        let usb = root.path().join(format!("sys/devices/usb1/{port}"));
        let (at, id) = if k == 2 {
            (root.path().join("sys/devices/platform/soc"), "PCH".to_owned())
        } else {
            (usb.join(format!("{port}:1.0")), format!("A{k}"))
        };
        create_dir_all(at.join(format!("sound/card{number}"))).unwrap();
        write(at.join(format!("sound/card{number}/id")), format!("{id}\n")).unwrap();
        symlink("../..", at.join(format!("sound/card{number}/device"))).unwrap();
        symlink(at.join(format!("sound/card{number}")), sys.join(format!("card{number}"))).unwrap();
        if k < 2 {
            write(usb.join("product"), "333D01 1000123512005140024013\n").unwrap();
            write(usb.join("serial"), format!("S{k}\n")).unwrap();
        }
        let proc = root.path().join(format!("proc/asound/card{number}/pcm0c/sub0"));
        create_dir_all(&proc).unwrap();
        write(proc.join("hw_params"), "format: S24_3LE\nchannels: 2\nrate: 48000 (48000/1)\n")
            .unwrap();
        writeln!(list, " {number} [{id:15}]: HDA-Intel - Mainboard {id}\n   somewhere").unwrap();
    }
    write(root.path().join("proc/asound/cards"), list).unwrap();
    root
}

#[test]
fn a_card_is_found_by_serial_port_and_id_whatever_its_number() {
    for numbers in [[0, 1, 2], [2, 0, 1], [5, 3, 0]] {
        let root = tree(numbers);
        let check = |name: &str, k: usize| {
            let (card, device) = find(root.path(), name).unwrap();
            assert_eq!((card.index, device), (numbers[k], 0), "{name}");
        };
        check("serial:S0", 0);
        check("usb:1-1.1", 1);
        check("card:PCH,0", 2);
        let (card, device) = find(root.path(), "card:PCH").unwrap();
        assert_eq!(card.name, "Mainboard PCH");
        assert_eq!(granted(root.path(), &card, device), Some((48_000.0, 2)));
    }
}

#[test]
fn a_number_is_refused_and_an_absent_card_is_lost_with_what_there_is() {
    let root = tree([0, 1, 2]);
    let check = |name: &str, expect: &str| {
        let error = find(root.path(), name).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check("card:1", "no name that stays");
    check("hw:1", "no name that stays");
    check("1", "no name that stays");
    check("card:PCH,7", "capture devices [0]");
    check("serial:S9", "there are: serial:S0, serial:S1, card:PCH");
    assert!(matches!(find(root.path(), "usb:9-9"), Err(Error::Lost { .. })));
    assert!(matches!(find(root.path(), "hw:0"), Err(Error::Refused { .. })));
}

#[test]
fn a_digiducer_carries_its_calibration_in_its_name() {
    let [a, b] = digiducer("333D01 1000123512005140024013").unwrap();
    assert!((a - 8_388_608.0 / 51_200.0).abs() < 1e-9, "{a}");
    assert!((b - 8_388_608.0 / 51_400.0).abs() < 1e-9, "{b}");
    // 2^23 counts at 855400 counts per g and per unit of sensitivity: g = x * 855400 / sens.
    assert!((a / crate::types::G_MPS2 - 855_400.0 / 51_200.0).abs() < 1e-3);
    for name in ["", "333D01", "333D01 2000123512005140024013", "333D01 1000123000005140024013"] {
        assert_eq!(digiducer(name), None, "{name}");
    }
}
