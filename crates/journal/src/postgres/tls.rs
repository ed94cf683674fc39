//! TLS for a connection to PostgreSQL: rustls, with the server's certificate always checked against its name.

use crate::failed::{file_failed, storage};
use crate::port::JournalError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

/// Protects connections by TLS.
pub(super) struct Protector(TlsConnector);

impl Protector {
    /// Makes one that believes the certificates of a file, or else those of the system.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, JournalError> {
        let what = "prepare TLS for the journal";
        let roots = match ca_file {
            Some(path) => from_file(path)?,
            None => from_system()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| storage(what, error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

fn from_file(path: &Path) -> Result<RootCertStore, JournalError> {
    let what = format!("read the certificates in {}", path.display());
    let text = std::fs::read(path).map_err(|error| file_failed(&what, error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| storage(&what, error.to_string()))?;
        roots.add(certificate).map_err(|error| storage(&what, error))?;
    }
    if roots.is_empty() {
        return Err(storage(&what, "there is none in it"));
    }
    Ok(roots)
}

fn from_system() -> Result<RootCertStore, JournalError> {
    let mut roots = RootCertStore::empty();
    // One that cannot be read is none that is needed, or the server's own will be refused.
    let (usable, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if usable == 0 {
        let hint = "install ca-certificates, or name a ca_file";
        return Err(storage("find the certificates of the system", hint));
    }
    Ok(roots)
}

impl MakeTlsConnect<Socket> for Protector {
    type Stream = Protected;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, InvalidDnsNameError> {
        let name = ServerName::try_from(domain.to_owned())?;
        Ok(Handshake { connector: self.0.clone(), name })
    }
}

/// The beginning of one protected connection.
pub(super) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Protected;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Protected>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, socket).await.map(Protected) })
    }
}

/// A protected connection.
pub(super) struct Protected(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for Protected {
    /// The certificate was checked against the name: nobody in between could have a connection of their own to bind to.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Protected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Protected {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
