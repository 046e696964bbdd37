//! TLS 1.3 with raw public keys (RFC 7250): both ends prove an Ed25519 key, and nothing else.
//!
//! There are no certificates, names or authorities. Each end sends the 44 bytes of its
//! `SubjectPublicKeyInfo` and signs the handshake with it; the last 32 of these bytes are the key
//! that names the node. Whoever it is, is let in: who it *should* be is compared by the dialler
//! afterwards. The network is the ALPN protocol name, so two networks cannot even shake hands.
//! There is no resumption and no 0-RTT: they would link a client's connections, could be replayed,
//! and a full handshake costs a third of a millisecond.

use std::any::Any;
use std::sync::Arc;

use dht_kad::{NetworkName, NodeId};
use ed25519_dalek::VerifyingKey;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};

use crate::node_key::NodeKey;

/// The server name that every dialler gives: rustls asks for one, nobody reads it, none is sent.
pub(super) const SERVER_NAME: &str = "dht";

/// What precedes the 32 bytes of an Ed25519 public key in its `SubjectPublicKeyInfo` (RFC 8410,
/// section 4). The key has one encoding only, so anything else is refused.
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The TLS settings of a node, for both of its roles.
pub(super) struct TlsConfigs {
    /// For connections that others dial.
    pub(super) server: Arc<QuicServerConfig>,
    /// For connections that it dials.
    pub(super) client: Arc<QuicClientConfig>,
}

/// Makes the TLS settings of the node with this key in this network.
pub(super) fn configs(key: &NodeKey, network: &NetworkName) -> Result<TlsConfigs, Error> {
    let (server, client) = rustls_configs(key, network)?;
    let no_suite = |_| Error::from(PeerIncompatible::NoCipherSuitesInCommon);
    Ok(TlsConfigs {
        server: Arc::new(QuicServerConfig::try_from(server).map_err(no_suite)?),
        client: Arc::new(QuicClientConfig::try_from(client).map_err(no_suite)?),
    })
}

fn rustls_configs(
    key: &NodeKey,
    network: &NetworkName,
) -> Result<(rustls::ServerConfig, rustls::ClientConfig), Error> {
    let provider = provider();
    let pkcs8 = key.to_pkcs8();
    let signer = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))?;
    let own_key = Arc::new(CertifiedKey::new(vec![spki(&key.public_key())], signer));
    let verifier = Arc::new(RawKeyVerifier::new(&provider));
    let protocols = vec![network.alpn()];

    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&own_key))));
    server.alpn_protocols.clone_from(&protocols);
    server.max_early_data_size = 0;
    server.send_tls13_tickets = 0;

    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own_key)));
    client.alpn_protocols = protocols;
    client.resumption = rustls::client::Resumption::disabled();
    client.enable_early_data = false;
    client.enable_sni = false;
    Ok((server, client))
}

/// aws-lc-rs; its hybrid of X25519 and ML-KEM-768 first, so that what is recorded today cannot be
/// read by a quantum computer later, then X25519 for implementations without it.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768, aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}

/// Who a handshake proved the other end to be, from [`quinn::Connection::peer_identity`].
pub(super) fn proven_id(identity: Option<Box<dyn Any>>) -> Option<NodeId> {
    let chain = identity?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    raw_key(chain.first()?).ok().map(|key| NodeId::from_public_key(&key))
}

fn spki(public_key: &[u8; 32]) -> CertificateDer<'static> {
    let mut der = Vec::with_capacity(SPKI_PREFIX.len() + public_key.len());
    der.extend_from_slice(&SPKI_PREFIX);
    der.extend_from_slice(public_key);
    CertificateDer::from(der)
}

/// The Ed25519 key in a `SubjectPublicKeyInfo`. A weak one (of small order) would let anybody sign
/// in its name, so it is refused.
fn raw_key(spki: &[u8]) -> Result<[u8; 32], CertificateError> {
    let key = spki.strip_prefix(&SPKI_PREFIX).ok_or(CertificateError::BadEncoding)?;
    let key: [u8; 32] = key.try_into().map_err(|_| CertificateError::BadEncoding)?;
    match VerifyingKey::from_bytes(&key) {
        Ok(point) if !point.is_weak() => Ok(key),
        _ => Err(CertificateError::BadEncoding),
    }
}

/// Takes any Ed25519 key whose holder signed the handshake.
#[derive(Debug)]
struct RawKeyVerifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl RawKeyVerifier {
    fn new(provider: &CryptoProvider) -> Self {
        RawKeyVerifier { algorithms: provider.signature_verification_algorithms }
    }

    fn check_key(spki: &[u8], others: &[CertificateDer<'_>]) -> Result<(), Error> {
        if others.is_empty() {
            raw_key(spki).map(drop).map_err(Error::InvalidCertificate)
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadEncoding))
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        spki: &[u8],
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(Error::InvalidCertificate(CertificateError::BadSignature));
        }
        let spki = SubjectPublicKeyInfoDer::from(spki);
        verify_tls13_signature_with_raw_key(message, &spki, signed, &self.algorithms)
    }
}

impl ServerCertVerifier for RawKeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check_key(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for RawKeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check_key(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// A client of this network that shows what `own_key` says.
#[cfg(test)]
pub(super) fn client_showing(
    network: &NetworkName,
    own_key: Arc<dyn rustls::client::ResolvesClientCert>,
) -> rustls::ClientConfig {
    let provider = provider();
    let mut client = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(RawKeyVerifier::new(&provider)))
        .with_client_cert_resolver(own_key);
    client.alpn_protocols = vec![network.alpn()];
    client
}

#[cfg(test)]
mod tests {
    use rustls::quic::{ClientConnection, Connection, ServerConnection};
    use rustls::{HandshakeKind, NamedGroup, ProtocolVersion};

    use super::*;

    #[test]
    fn the_own_key_is_read_back_from_its_spki() {
        let key = NodeKey::from_seed([9; 32]);
        let chain: Box<dyn Any> = Box::new(vec![spki(&key.public_key())]);
        assert_eq!(proven_id(Some(chain)), Some(key.id()));
    }

    /// Gives the one what the other has to say, key epoch by key epoch.
    fn pass_on(from: &mut Connection, to: &mut Connection) {
        let mut more = true;
        while more {
            let mut said = Vec::new();
            more = from.write_hs(&mut said).is_some();
            to.read_hs(&said).unwrap();
        }
    }

    #[test]
    fn two_nodes_agree_on_tls_1_3_and_the_hybrid_key_exchange() {
        let network = "test".parse().unwrap();
        let (server, _) = rustls_configs(&NodeKey::from_seed([1; 32]), &network).unwrap();
        let (_, client) = rustls_configs(&NodeKey::from_seed([2; 32]), &network).unwrap();
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        let version = rustls::quic::Version::V1;
        let client = ClientConnection::new(Arc::new(client), version, name, Vec::new()).unwrap();
        let server = ServerConnection::new(Arc::new(server), version, Vec::new()).unwrap();
        let (mut client, mut server) = (Connection::Client(client), Connection::Server(server));
        while client.is_handshaking() || server.is_handshaking() {
            pass_on(&mut client, &mut server);
            pass_on(&mut server, &mut client);
        }
        let group = server.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
        assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
    }

    #[test]
    fn other_encodings_other_lengths_and_weak_keys_are_refused() {
        let good = spki(&NodeKey::from_seed([9; 32]).public_key());
        let mut other_algorithm = good.to_vec();
        other_algorithm[8] = 0x6e;
        let mut longer = good.to_vec();
        longer.push(0);
        let identity_point = spki(&{
            let mut point = [0; 32];
            point[0] = 1;
            point
        });
        for bad in [&other_algorithm[..], &longer, &good[..43], &identity_point, b""] {
            assert!(raw_key(bad).is_err(), "{bad:02x?}");
        }
        assert!(RawKeyVerifier::check_key(&good, &[]).is_ok());
        assert!(RawKeyVerifier::check_key(&good, std::slice::from_ref(&good)).is_err());
    }
}
