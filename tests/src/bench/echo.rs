//! A bare QUIC echo: what quinn itself costs for a request and an answer, and nothing on top.
//!
//! It does what any program must that asks over QUIC, the way a node does it: one connection, one
//! stream a request, raw public keys, one thread. There are no frames, no limits, no time limits per
//! request, no registry and no store; requests and answers are zeros.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use dht_context::node_key::NodeKey;
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use serde_json::json;
use tokio::time::Instant;

use super::figures::CLIENT_CPU_FIELD;
use super::processes::own_cpu_secs;

/// Bytes of a request: about those of a node's `Find`.
const REQUEST_BYTES: usize = 100;
/// Bytes of an answer: about those of a value of the default size.
const ANSWER_BYTES: usize = 1024;
/// Streams at once: as many as a node grants a busy peer.
const STREAMS: u32 = 256;
/// Flow control windows, a node's: 288 KiB a stream, 1 MiB a connection.
const STREAM_WINDOW: u32 = 288 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Requests before those that count.
const WARM_UP: u64 = 64;

const ALPN: &[u8] = b"echo";
/// What precedes an Ed25519 public key in its `SubjectPublicKeyInfo`, and a secret one in PKCS #8
/// (RFC 8410, sections 4 and 7).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Serves on a port of loopback that the system chooses, told on stdout, until it is killed.
///
/// # Errors
/// Where no key, socket or TLS setting can be had.
pub async fn serve() -> anyhow::Result<()> {
    let key = NodeKey::generate()?;
    let spki = [SPKI_PREFIX.as_slice(), key.public_key().as_slice()].concat();
    let pkcs8 = [PKCS8_PREFIX.as_slice(), key.to_seed_bytes().as_slice()].concat();
    let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))?;
    let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signer));
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport_config());
    let endpoint = Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], 0)))?;
    println!("ready listen={}", endpoint.local_addr()?);
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else { continue };
        tokio::spawn(answer_all(connection));
    }
    Ok(())
}

async fn answer_all(connection: Connection) {
    let answer = Bytes::from(vec![0; ANSWER_BYTES]);
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            accepted = connection.accept_bi(), if under_way.len() < STREAMS as usize => match accepted {
                Ok((send, recv)) => under_way.push(answer_one(send, recv, answer.clone())),
                Err(_) => return,
            },
            Some(_) = under_way.next() => {}
        }
    }
}

async fn answer_one(
    mut send: SendStream,
    mut recv: RecvStream,
    answer: Bytes,
) -> anyhow::Result<()> {
    drain(&mut recv).await?;
    send.write_chunk(answer).await?;
    send.finish()?;
    Ok(())
}

/// Sends `count` requests, `concurrency` at once, on one connection, and prints one JSON object as
/// `dht-client bench --json` does; before it a line that says that the warm-up is over.
///
/// # Errors
/// Where the server cannot be reached, or an answer is not what it should be.
pub async fn ask(server: SocketAddr, count: u64, concurrency: usize) -> anyhow::Result<()> {
    let connection = connect(server).await?;
    run(&connection, WARM_UP, concurrency).await?;
    println!("{}", json!({"op": "connected", "count": WARM_UP}));
    let (started, cpu_before) = (Instant::now(), own_cpu_secs());
    run(&connection, count, concurrency).await?;
    let (took, cpu) = (started.elapsed().as_secs_f64(), own_cpu_secs() - cpu_before);
    println!(
        "{}",
        json!({
            "op": "echo",
            "ops_per_sec": count as f64 / took,
            CLIENT_CPU_FIELD: cpu * 1e6 / count as f64,
            "count": count,
            "concurrency": concurrency,
        })
    );
    connection.close(VarInt::from_u32(0), b"");
    Ok(())
}

async fn connect(server: SocketAddr) -> anyhow::Result<Connection> {
    let provider = provider();
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport_config());
    let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let connecting = endpoint.connect_with(config, server, "echo")?;
    connecting.await.context("the echo server cannot be reached; is it running?")
}

async fn run(connection: &Connection, count: u64, concurrency: usize) -> anyhow::Result<()> {
    let request = Bytes::from(vec![0; REQUEST_BYTES]);
    let mut answers = stream::iter(0..count)
        .map(|_| ask_one(connection, request.clone()))
        .buffer_unordered(concurrency);
    while let Some(bytes) = answers.next().await {
        ensure!(bytes? == ANSWER_BYTES, "the echo server's answer has another length");
    }
    Ok(())
}

async fn ask_one(connection: &Connection, request: Bytes) -> anyhow::Result<usize> {
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_chunk(request).await?;
    send.finish()?;
    drain(&mut recv).await
}

/// Reads a stream to its end, and says how much came.
async fn drain(recv: &mut RecvStream) -> anyhow::Result<usize> {
    let mut bytes = 0;
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await? {
        bytes += chunk.bytes.len();
    }
    Ok(bytes)
}

fn transport_config() -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(CONNECTION_WINDOW.into())
        .send_fairness(false)
        .datagram_receive_buffer_size(None);
    Arc::new(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Takes whichever key the server proves: it is a process of this benchmark.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
