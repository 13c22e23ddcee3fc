//! Whom we believe, and who we are, under TLS; every file is read anew for each attempt.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rumqttc::Transport;
use rumqttc::tokio_rustls::rustls::client::WebPkiServerVerifier;
use rumqttc::tokio_rustls::rustls::crypto::ring::default_provider;
use rumqttc::tokio_rustls::rustls::pki_types::pem::PemObject;
use rumqttc::tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
};
use rumqttc::tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::read;
use crate::publish::{Config, Lost};

/// TLS as configured; the broker's certificate must not be on the list of those revoked, if there is
/// one, which must be of the authority that signed it.
///
/// # Errors
/// [`Lost::Setup`] naming the file that cannot be used.
pub(super) fn transport(config: &Config, ca_file: &Path) -> Result<Transport, Lost> {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(all::<CertificateDer<'_>>("mqtt.ca_file", ca_file)?);
    let crls = match &config.crl_file {
        Some(file) => all::<CertificateRevocationListDer<'_>>("mqtt.crl_file", file)?,
        None => Vec::new(),
    };
    let asked =
        config.crl_file.as_deref().map_or(("mqtt.ca_file", ca_file), |it| ("mqtt.crl_file", it));
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .with_crls(crls)
        .only_check_end_entity_revocation()
        .build()
        .map_err(|why| unusable(asked, why))?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| Lost::Setup(why.to_string()))?
        .with_webpki_verifier(verifier);
    let client = match (&config.cert_file, &config.key_file) {
        (Some(cert_file), Some(key_file)) => {
            let key = read("mqtt.key_file", key_file)?;
            let key = PrivateKeyDer::from_pem_slice(&key)
                .map_err(|why| unusable(("mqtt.key_file", key_file), why))?;
            let own = all("mqtt.cert_file", cert_file)?;
            client
                .with_client_auth_cert(own, key)
                .map_err(|why| unusable(("mqtt.cert_file", cert_file), why))?
        }
        _ => client.with_no_client_auth(),
    };
    Ok(Transport::tls_with_config(client.into()))
}

/// Every item of its kind in a PEM file, at least one.
fn all<T: PemObject>(key: &str, path: &Path) -> Result<Vec<T>, Lost> {
    let bytes = read(key, path)?;
    let items = T::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| unusable((key, path), why))?;
    if items.is_empty() {
        return Err(unusable((key, path), "there is nothing of the kind in it"));
    }
    Ok(items)
}

fn unusable((key, path): (&str, &Path), why: impl Display) -> Lost {
    Lost::Setup(format!("{key} {}: {why}", path.display()))
}
