//! Certificates: the right one is taken, every wrong one is refused by name and the alerts kept.

use std::io::Write;
use std::path::{Path, PathBuf};

use auscult::publish::{Config, State};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use super::rig::{Rig, config};
use crate::broker::{Broker, has_mosquitto, wait_for};

struct Pki {
    dir: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate with the name of its issuer for a self-signed one.
        params.distinguished_name.push(DnType::CommonName, "authority of the plant");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { dir: tempfile::tempdir().unwrap(), authority };
        pki.write("ca.pem", &pki.authority.pem());
        pki
    }

    /// A certificate for `name` and its key, as files.
    fn issue(&self, file: &str, name: &str, is_expired: bool) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.authority).unwrap();
        (
            self.write(&format!("{file}.pem"), &cert.pem()),
            self.write(&format!("{file}.key"), &key.serialize_pem()),
        )
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

fn broker(ca: &Path, (cert, key): &(PathBuf, PathBuf)) -> Broker {
    let [ca, cert, key] = [ca, cert, key].map(|path| path.display().to_string());
    Broker::start(&format!(
        "cafile {ca}\ncertfile {cert}\nkeyfile {key}\nrequire_certificate true\n"
    ))
}

fn with(port: u16, ca: PathBuf, (cert, key): (PathBuf, PathBuf)) -> Config {
    Config { ca_file: Some(ca), cert_file: Some(cert), key_file: Some(key), ..config(port) }
}

/// The box names `why` and keeps its alerts.
fn refused(config: &Config, why: &str) {
    let rig = Rig::start(config);
    rig.alerts(1..=3);
    wait_for(why, || rig.report().trouble.is_some_and(|trouble| trouble.contains(why)));
    assert_eq!(rig.rows(), 3);
    rig.stop();
}

#[test]
fn certificates_are_checked_both_ways() {
    if !has_mosquitto() {
        return;
    }
    let (ours, theirs) = (Pki::new(), Pki::new());
    let broker = broker(&ours.ca(), &ours.issue("server", "127.0.0.1", false));
    let good = with(broker.port, ours.ca(), ours.issue("box", "box-1", false));

    let rig = Rig::start(&good);
    rig.alerts(1..=10);
    rig.wait_state(State::Online);
    rig.wait_empty();
    rig.stop();

    let rogue = with(broker.port, ours.ca(), theirs.issue("box", "box-1", false));
    refused(&rogue, "refuses our certificate (mqtt.cert_file)");
    let none = Config { cert_file: None, key_file: None, ..good.clone() };
    refused(&none, "it wants one: set mqtt.cert_file and mqtt.key_file");
    let wrong_authority = Config { ca_file: Some(theirs.ca()), ..good.clone() };
    refused(&wrong_authority, "not signed by the authority in mqtt.ca_file");
    let missing = Config { ca_file: Some("/nowhere/ca.pem".into()), ..good };
    refused(&missing, "mqtt.ca_file /nowhere/ca.pem");
}

#[test]
fn a_brokers_bad_certificate_is_refused_and_a_new_one_taken_up_without_a_restart() {
    if !has_mosquitto() {
        return;
    }
    let pki = Pki::new();
    let own = pki.issue("box", "box-1", false);
    for (name, is_expired, why) in
        [("127.0.0.1", true, "it has expired"), ("other.plant", false, "another host name")]
    {
        let server = pki.issue("server", name, is_expired);
        let mut broker = broker(&pki.ca(), &server);
        let rig = Rig::start(&with(broker.port, pki.ca(), own.clone()));
        rig.alerts(1..=3);
        wait_for(why, || rig.report().trouble.is_some_and(|trouble| trouble.contains(why)));
        assert_eq!(rig.rows(), 3);
        broker.kill();
        pki.issue("server", "127.0.0.1", false);
        broker.up();
        rig.wait_empty();
        rig.stop();
    }
}
