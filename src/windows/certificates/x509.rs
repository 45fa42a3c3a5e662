//! A certificate (X.509, RFC 5280), cut into the parts that its properties are made of. Nothing is verified: whether a
//! certificate may be trusted is for him to say who installs it.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::Error;
use super::blob::{self, Blob};
use super::der::{BIT_STRING, Elements, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, only};
use coldforge_base::utf16;

/// A certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    der: Vec<u8>,
    parts: Parts,
}

/// What properties and people want to know.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Parts {
    signed_digest: Option<Vec<u8>>,
    key: Vec<u8>,
    key_bits: Option<u32>,
    key_identifier: Option<Vec<u8>>,
    common_name: Option<String>,
}

/// The context tag of a certificate's extensions, and of its version.
const EXTENSIONS: u8 = 0xa3;
const VERSION: u8 = 0xa0;
/// 2.5.29.14, subjectKeyIdentifier.
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
/// 2.5.4.3, commonName; 2.5.4.11, organizationalUnitName; 2.5.4.10, organizationName.
const NAMES: [&[u8]; 3] = [&[0x55, 0x04, 0x03], &[0x55, 0x04, 0x0b], &[0x55, 0x04, 0x0a]];
/// 1.2.840.113549.1.1.1, rsaEncryption.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1, ecPublicKey.
const ELLIPTIC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// secp256r1, secp384r1, secp521r1.
const CURVES: [(&[u8], u32); 3] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], 256),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], 384),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], 521),
];

impl Certificate {
    /// Takes a certificate in DER.
    ///
    /// # Errors
    /// [`Error::NoCertificate`] if the bytes have not the shape of one, from the first to the last.
    pub fn parse(der: &[u8]) -> Result<Self, Error> {
        let parts = parts(der).ok_or(Error::NoCertificate)?;
        Ok(Self { der: der.to_vec(), parts })
    }

    /// Returns the bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the SHA-1 in upper-case hex digits, which Windows names certificates by.
    pub fn thumbprint(&self) -> String {
        thumbprint(&self.der)
    }

    /// Returns the subject's common name, or where it has none its unit or organization.
    pub fn subject(&self) -> Option<&str> {
        self.parts.common_name.as_deref()
    }

    /// Returns what a store of the machine keeps: the certificate with the properties that Windows gives a certificate
    /// that is installed by hand.
    pub fn blob(&self) -> Blob {
        let Parts { signed_digest, key, key_bits, key_identifier, .. } = &self.parts;
        let mut properties = vec![(blob::MD5, Md5::digest(&self.der).to_vec())];
        properties.extend(signed_digest.iter().map(|digest| (blob::SIGNED_DIGEST, digest.clone())));
        properties.extend(key_identifier.iter().map(|id| (blob::KEY_IDENTIFIER, id.clone())));
        properties.push((blob::KEY_MD5, Md5::digest(key).to_vec()));
        properties.extend(key_bits.iter().map(|bits| (blob::KEY_BITS, bits.to_le_bytes().to_vec())));
        properties.push((blob::SHA1, Sha1::digest(&self.der).to_vec()));
        Blob::new(properties, self.der.clone())
    }
}

/// Returns the SHA-1 of bytes in upper-case hex digits.
pub(super) fn thumbprint(bytes: &[u8]) -> String {
    coldforge_base::hex::encode(&Sha1::digest(bytes)).to_uppercase()
}

fn parts(der: &[u8]) -> Option<Parts> {
    let mut outer = Elements(only(der, SEQUENCE)?);
    let signed = outer.demand(SEQUENCE)?;
    let algorithm = outer.demand(SEQUENCE)?;
    outer.demand(BIT_STRING)?;
    let mut fields = Elements(signed.body);
    fields.demand(VERSION);
    fields.demand(INTEGER)?;
    // Signature, issuer, validity.
    for _ in 0..3 {
        fields.demand(SEQUENCE)?;
    }
    let subject = fields.demand(SEQUENCE)?;
    let mut key_info = Elements(fields.demand(SEQUENCE)?.body);
    let mut key_algorithm = Elements(key_info.demand(SEQUENCE)?.body);
    // The first byte of a string of bits is the number of those that its last byte does not use.
    let (_, key) = key_info.demand(BIT_STRING)?.body.split_first()?;
    let extensions = fields.find(|field| field.tag == EXTENSIONS);
    let extensions = extensions.and_then(|field| only(field.body, SEQUENCE)).unwrap_or_default();
    if !outer.0.is_empty() {
        return None;
    }
    let signature = Elements(algorithm.body).demand(OBJECT_IDENTIFIER)?.body;
    let key_kind = key_algorithm.demand(OBJECT_IDENTIFIER)?.body;
    Some(Parts {
        signed_digest: signed_digest(signature, signed.whole),
        key: key.to_vec(),
        key_bits: key_bits(key_kind, key_algorithm, key),
        key_identifier: key_identifier(extensions),
        common_name: NAMES.iter().find_map(|kind| name(subject.body, kind)),
    })
}

/// Returns the digest of the signed part by the algorithm of the signature; `None` for one that is not known here.
fn signed_digest(algorithm: &[u8], signed: &[u8]) -> Option<Vec<u8>> {
    // 1.2.840.113549.1.1.x with RSA, 1.2.840.10045.4.1 and 1.2.840.10045.4.3.x with elliptic curves.
    let rsa = algorithm.strip_prefix(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01]);
    let elliptic = algorithm.strip_prefix(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04]);
    match (rsa, elliptic) {
        (Some([4]), _) => Some(Md5::digest(signed).to_vec()),
        (Some([5]), _) | (_, Some([1])) => Some(Sha1::digest(signed).to_vec()),
        (Some([11]), _) | (_, Some([3, 2])) => Some(Sha256::digest(signed).to_vec()),
        (Some([12]), _) | (_, Some([3, 3])) => Some(Sha384::digest(signed).to_vec()),
        (Some([13]), _) | (_, Some([3, 4])) => Some(Sha512::digest(signed).to_vec()),
        _ => None,
    }
}

/// Returns the length of a key in bits, if it is one of RSA or of a common curve.
fn key_bits(kind: &[u8], mut parameters: Elements<'_>, key: &[u8]) -> Option<u32> {
    match kind {
        RSA => {
            let modulus = Elements(only(key, SEQUENCE)?).demand(INTEGER)?.body;
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let digits = modulus.get(zeros..)?;
            let bits = u32::try_from(digits.len()).ok()?.checked_mul(8)?;
            bits.checked_sub(digits.first()?.leading_zeros())
        }
        ELLIPTIC => {
            let curve = parameters.demand(OBJECT_IDENTIFIER)?.body;
            CURVES.iter().find(|(known, _)| *known == curve).map(|(_, bits)| *bits)
        }
        _ => None,
    }
}

fn key_identifier(extensions: &[u8]) -> Option<Vec<u8>> {
    Elements(extensions).filter(|extension| extension.tag == SEQUENCE).find_map(|extension| {
        let mut fields = Elements(extension.body);
        let kind = fields.demand(OBJECT_IDENTIFIER)?;
        let value = fields.find(|field| field.tag == OCTET_STRING)?;
        (kind.body == SUBJECT_KEY_IDENTIFIER).then(|| only(value.body, OCTET_STRING)).flatten().map(<[u8]>::to_vec)
    })
}

/// Returns the last part of this kind of a name.
fn name(subject: &[u8], kind: &[u8]) -> Option<String> {
    let parts = Elements(subject).filter(|set| set.tag == SET).flat_map(|set| Elements(set.body));
    let texts = parts.filter_map(|part| {
        let mut fields = Elements(part.body);
        let own = fields.demand(OBJECT_IDENTIFIER)?;
        let text = fields.next()?;
        (own.body == kind).then(|| match text.tag {
            // BMPString, in big-endian units of 16 bits.
            0x1e => utf16::decode(&text.body.chunks_exact(2).flat_map(|unit| [unit[1], unit[0]]).collect::<Vec<u8>>()),
            _ => String::from_utf8_lossy(text.body).into_owned(),
        })
    });
    texts.last()
}
