//! The configuration's face: what is shipped loads and is complete, and every mistake is told where it
//! stands with a fix.

use std::fmt::Write as _;
use std::path::Path;

use auscult::config::Config;

/// A good configuration, with places to put something wrong.
const GOOD: &str = r#"site = "plant"
gateway = "box"

[[asset]]
id = "pump"

[[asset.sensor]]
id = "de"
kind = "vibration"

[asset.sensor.source]
type = "synth"
"#;

const SOUND: &str = "type = \"sound\"\ndevice = \"serial:1\"\n";

/// `GOOD` with every `from` replaced by `to`.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replace(from, to)
}

/// `GOOD` with lines at its end, in the source's table.
fn and(lines: &str) -> String {
    format!("{GOOD}{lines}\n")
}

/// `GOOD` with another source.
fn source(lines: &str) -> String {
    with("type = \"synth\"\n", lines)
}

/// What is wrong, by what it is called.
fn mistakes() -> Vec<(&'static str, String)> {
    let sound = |lines: &str| source(&format!("{SOUND}{lines}\n"));
    vec![
        ("not TOML", with("site = \"plant\"", "site = plant")),
        ("half written", GOOD[..GOOD.len() - 4].to_owned()),
        ("key twice", with("gateway", "site = \"b\"\ngateway")),
        ("empty", String::new()),
        ("unknown key at the top", with("gateway = \"box\"", "gatway = \"box\"")),
        ("unknown table", and("[mtqq]\nport = 1")),
        ("unknown key of a room", and("[asset.sensor.extract]\nwindw_ms = 500")),
        ("unknown key, nothing like it", and("[advise]\ncolour = \"red\"")),
        ("unknown key of a source", and("ratehz = 16000")),
        ("unknown key deep in a source", and("bearing = { bpfo = 3.5, bpfy = 5.4 }")),
        ("several at once", and("rate = 5\naxes = \"two\"\n[detect]\nlearn_s = true\nlern_s = 1")),
        ("number in quotes", and("[extract]\nwindow_ms = \"500\"")),
        ("text for a number", and("[asset.extract]\nwindow_ms = \"half a second\"")),
        ("number for a text", with("\"pump\"", "7")),
        ("text for a truth", and("[advise]\nlatch = \"true\"")),
        ("one for many", with("kind", "axes = \"radial\"\nkind")),
        ("negative count", and("[mqtt]\nport = -1")),
        ("too large for its type", and("[mqtt]\nport = 70000")),
        ("wrong word", with("\"vibration\"", "\"vibrations\"")),
        ("wrong unit", sound("unit = \"mm\"")),
        ("unit of another sensor", sound("unit = \"Pa\"")),
        ("no number", and("[asset.detect]\nlearn_s = nan")),
        ("infinite", and("[extract]\nrecord_ms = inf")),
        ("machine twice", format!("{GOOD}{}", &GOOD[GOOD.find("[[asset]]").unwrap()..])),
        ("sensor twice", format!("{GOOD}{}", &GOOD[GOOD.find("[[asset.sensor]]").unwrap()..])),
        ("no machine", GOOD[..GOOD.find("[[asset]]").unwrap()].to_owned()),
        ("no sensor", GOOD[..GOOD.find("[[asset.sensor]]").unwrap()].to_owned()),
        ("no id", with("id = \"de\"\n", "")),
        ("no source", GOOD[..GOOD.find("[asset.sensor.source]").unwrap()].to_owned()),
        ("no type", source("rate_hz = 5\n")),
        ("unknown type", source("type = \"alsa\"\n")),
        ("bad identifier", with("\"pump\"", "\"Pump 3/a\"")),
        ("reserved identifier", with("\"pump\"", "\"status\"")),
        ("long identifier", with("\"box\"", &format!("\"{}\"", "b".repeat(65)))),
        ("no device", source("type = \"sound\"\n")),
        ("device by number", source("type = \"iio\"\ndevice = \"iio:device0\"\n")),
        ("device used twice", {
            let second = "[[asset.sensor]]\nid = \"nde\"\nkind = \"vibration\"\n";
            sound(&format!("{second}[asset.sensor.source]\n{SOUND}"))
        }),
        ("more names than channels", with("kind", "axes = [\"x\", \"y\"]\nkind")),
        ("gains for other channels", sound("units_per_full_scale = [1.0, 2.0]")),
        ("sound rate", sound("rate_hz = 0")),
        ("tcp channels", source("type = \"tcp\"\nchannels = 0\n")),
        ("tcp address", source("type = \"tcp\"\naddress = \"localhost\"\n")),
        ("recording start", source("type = \"recording\"\npath = \"a.wav\"\nstart = \"today\"\n")),
        ("synth range", and("speed_rpm = 0.5")),
        ("synth nested range", and("bearing = { ftf = 0.4, bpfo = 0.1, bpfi = 5.4, bsf = 2.3 }")),
        ("extract range", and("[asset.sensor.extract]\nmel_bands = 4")),
        ("speed range", and("[asset.speed]\nspeed_min_rpm = 100\nspeed_max_rpm = 900")),
        ("tacho of another sensor", and("[asset.sensor.speed]\ntacho_channel = 3")),
        ("detect range", and("[detect]\nfalse_alarms_per_year = 0")),
        ("assess range", and("[asset.assess]\nslip_tolerance = 0.5")),
        ("assess group", and("[asset.assess]\ngroup = 9")),
        ("bearing in Hz", {
            and("[asset.assess.bearing]\nftf = 9.9\nbpfo = 89.0\nbpfi = 135.0\nbsf = 58.9")
        }),
        ("bearing without an order", and("[asset.assess]\nbearing = { bpfo = 3.5 }")),
        ("bearing given twice", {
            and(
                "[asset.assess]\nbearing_designation = \"NICE\"\nbearing = { ftf = 0.4, bpfo = 3.2, bpfi = 4.7, bsf = 2.5 }",
            )
        }),
        ("bearing nobody knows", and("[asset.assess]\nbearing_designation = \"6205\"")),
        ("forecast range", and("[forecast]\nreach_max = 0")),
        ("advise range", and("[advise]\non_windows = 0")),
        ("advise order", and("[advise]\nlife_urgent_h = 1000")),
        ("store range", and("[store]\noutbox_bytes_max = 5")),
        ("mqtt range", and("[mqtt]\nkeep_alive_s = 1")),
        ("mqtt without its key", and("[mqtt]\nca_file = \"ca.pem\"\ncert_file = \"c.pem\"")),
        ("no model file", with("kind", "model = \"absent.bin\"\nkind")),
        ("no certificate", and("[mqtt]\nca_file = \"absent.pem\"")),
    ]
}

/// The mistakes in `text`, as a person sees them, and as a program does.
fn told(text: &str) -> String {
    match Config::parse(Path::new("auscult.toml"), text) {
        Ok(_) => "good".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn good_is_good() {
    assert_eq!(told(GOOD), "good");
}

#[test]
fn every_mistake_is_told_where_it_stands_with_a_fix() {
    let mut all = String::new();
    for (what, text) in mistakes() {
        writeln!(all, "## {what}\n{}\n", told(&text)).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_file_from_hell_is_refused_or_read_never_worse() {
    let deep =
        |open: &str, close: &str| format!("a = {}1{}", open.repeat(20_000), close.repeat(20_000));
    let hell = [
        deep("[", "]"),
        deep("{a=", "}"),
        format!("{}x = 1", "a.".repeat(100_000)),
        format!("[{}x]", "a.".repeat(100_000)),
        "[[asset]]\n".repeat(50_000),
        "\u{feff}".to_owned() + GOOD,
        GOOD.replace('\n', "\r\n"),
        GOOD.replace("plant", "pl\u{0}ant"),
    ];
    for text in hell {
        let told = told(&text);
        assert!(told == "good" || told.starts_with("auscult.toml:"), "{told:.300}");
        assert!(told.len() < 20_000_000);
    }
}
