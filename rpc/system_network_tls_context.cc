#include <kj/debug.h>
#include <openssl/pem.h>

#include <cerrno>

#include "rpc/system_network_tls.h"

namespace cairn {

namespace {

// Fastest first: both ends are ours.
constexpr const char* CIPHERS = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
constexpr const char* GROUPS = "X25519:P-256";
constexpr long CERTIFICATES_BYTES_MAX = 16 << 10;  // that a peer may send
constexpr int CHAIN_DEPTH_MAX = 1;                 // the authority signs directly

// Asked by OpenSSL for each certificate of a chain, after its own checks.
int checkCertificate(int passed, X509_STORE_CTX* store) {
  auto* connection = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* context = static_cast<TlsContext*>(SSL_get_app_data(connection));
  if (passed == 1 && X509_STORE_CTX_get_error_depth(store) == 0) {
    int wrong = context->judge(X509_STORE_CTX_get_current_cert(store));
    X509_STORE_CTX_set_error(store, wrong);
    return wrong == X509_V_OK ? 1 : 0;
  }
  return passed;
}
// A peer sends its authority's certificate too: if that is the one that is pinned, it is the one to trust.
int checkPinned(X509_STORE_CTX* store, void* argument) {
  auto* context = static_cast<TlsContext*>(argument);
  STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(store);
  for (int i = 0; sent != nullptr && i < sk_X509_num(sent); ++i) {
    X509* certificate = sk_X509_value(sent, i);
    if (fingerprintOf(certificate) == context->pin()) {
      X509_STORE_add_cert(X509_STORE_CTX_get0_store(store), certificate);
    }
  }
  return X509_verify_cert(store);
}

int noPassphrase(char*, int, int, void*) {
  return 0;
}

openssl::Bio bioOf(const std::string& text) {
  return openssl::Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Status loadIdentity(SSL_CTX* context, const std::string& pem) {
  openssl::Certificate certificate(PEM_read_bio_X509(bioOf(pem).get(), nullptr, noPassphrase, nullptr));
  openssl::Key key(PEM_read_bio_PrivateKey(bioOf(pem).get(), nullptr, noPassphrase, nullptr));
  if (certificate == nullptr || key == nullptr || SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return Error{EINVAL, "a certificate with its private key can't be used: " + openssl::takeErrors()};
  }
  return {};
}

Status loadAuthority(SSL_CTX* context, const std::string& pem, bool show) {
  openssl::Certificate authority(PEM_read_bio_X509(bioOf(pem).get(), nullptr, noPassphrase, nullptr));
  bool loaded = authority != nullptr && X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) == 1 &&
                (!show || SSL_CTX_add1_chain_cert(context, authority.get()) == 1);
  return loaded ? Status() : Error{EINVAL, "the authority's certificate can't be read: " + openssl::takeErrors()};
}

}  // namespace

// In system_network_tls_stream.cc.
openssl::BioMethod makeMemoryMethod();

TlsContext::TlsContext(const std::vector<Revocation>& revoked, std::string pin)
    : revoked_(revoked), pin_(std::move(pin)), context_(SSL_CTX_new(TLS_method())), memory_(makeMemoryMethod()) {
  KJ_ASSERT(context_ != nullptr && memory_ != nullptr, openssl::takeErrors());
}

Status TlsContext::load(const TlsMaterial& material) {
  SSL_CTX* context = context_.get();
  bool set = SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
             SSL_CTX_set_ciphersuites(context, CIPHERS) == 1 && SSL_CTX_set1_groups_list(context, GROUPS) == 1 &&
             SSL_CTX_set_num_tickets(context, 0) == 1;  // each connection proves anew who it is
  KJ_ASSERT(set, openssl::takeErrors());
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_cert_list(context, CERTIFICATES_BYTES_MAX);
  SSL_CTX_set_verify_depth(context, CHAIN_DEPTH_MAX);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // a connection that is idle needs little
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, checkCertificate);
  if (!pin_.empty()) {
    SSL_CTX_set_cert_verify_callback(context, checkPinned, this);
  }
  if (!material.identityPem.empty()) {
    auto identity = readCertificate(material.identityPem);
    if (!identity.ok()) {
      return identity.error();
    }
    identity_ = identity.value();
    auto loaded = loadIdentity(context, material.identityPem);
    if (!loaded.ok()) {
      return loaded;
    }
  }
  bool hasAuthority = !material.authorityPem.empty();
  return hasAuthority ? loadAuthority(context, material.authorityPem, identity_.has_value()) : Status();
}

Result<kj::Own<TlsContext>> TlsContext::make(const TlsMaterial& material, const std::vector<Revocation>& revoked,
                                             const std::string& pin) {
  auto context = kj::refcounted<TlsContext>(revoked, pin);
  auto loaded = context->load(material);
  if (!loaded.ok()) {
    return loaded.error();
  }
  return kj::mv(context);
}

int TlsContext::judge(x509_st* certificate) const {
  auto info = readCertificate(certificate);
  if (!info.ok() || (identity_ && info.value().name.cluster != identity_->name.cluster)) {
    return X509_V_ERR_SUBJECT_ISSUER_MISMATCH;
  }
  return isRevoked(revoked_, info.value().name, info.value().validity.from) ? X509_V_ERR_CERT_REVOKED : X509_V_OK;
}

openssl::Connection TlsContext::begin(bool serves, bool strangers) {
  openssl::Connection connection(SSL_new(context_.get()));
  KJ_ASSERT(connection != nullptr, openssl::takeErrors());
  SSL_set_app_data(connection.get(), this);
  if (serves) {
    SSL_set_verify(connection.get(), SSL_VERIFY_PEER | (strangers ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT),
                   checkCertificate);
    SSL_set_accept_state(connection.get());
  } else {
    SSL_set_connect_state(connection.get());
  }
  return connection;
}

}  // namespace cairn
