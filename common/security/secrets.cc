#include "common/security/secrets.h"

#include <kj/debug.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "common/security/openssl.h"

namespace cairn {

namespace {

constexpr std::string_view DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr size_t SHA256_BYTES = 32;

}  // namespace

std::string secretBytes(size_t count) {
  std::string bytes(count, '\0');
  int drawn = RAND_priv_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count));
  KJ_ASSERT(drawn == 1, "no randomness for a secret", openssl::takeErrors());
  return bytes;
}

std::string sha256(std::string_view bytes) {
  std::string digest(SHA256_BYTES, '\0');
  unsigned written = 0;
  int done = EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), &written,
                        EVP_sha256(), nullptr);
  KJ_ASSERT(done == 1 && written == SHA256_BYTES, openssl::takeErrors());
  return digest;
}

std::string hexText(std::string_view bytes) {
  constexpr std::string_view HEX = "0123456789abcdef";
  std::string text;
  for (unsigned char byte : bytes) {
    text += HEX[byte >> 4];
    text += HEX[byte & 15];
  }
  return text;
}

std::string base64Url(std::string_view bytes) {
  std::string text;
  uint32_t bits = 0;
  unsigned count = 0;
  for (unsigned char byte : bytes) {
    bits = bits << 8 | byte;
    for (count += 8; count >= 6;) {
      count -= 6;
      text += DIGITS[bits >> count & 63];
    }
  }
  if (count > 0) {
    text += DIGITS[bits << (6 - count) & 63];
  }
  return text;
}

bool parseBase64Url(std::string_view text, std::string& bytes) {
  std::string out;
  uint32_t bits = 0;
  unsigned count = 0;
  for (char c : text) {
    size_t digit = DIGITS.find(c);
    if (digit == std::string_view::npos) {
      return false;
    }
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 255);
    }
  }
  bytes = std::move(out);
  return base64Url(bytes) == text;
}

bool equalSecrets(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace cairn
