//! The serialized form in which the registry keeps a certificate (MS-GPEF 2.2.1.1.1.1): properties in a row, each a
//! number, the word 1, a length and data, the certificate itself the last of them. What a property means beyond the
//! certificate and its SHA-1 is a cache that Windows makes anew; unknown ones are kept.

use thiserror::Error;

use coldforge_base::{Failure, read};

/// The SHA-1 of the certificate (CERT_SHA1_HASH_PROP_ID).
pub const SHA1: u32 = 3;
/// The MD5 of the certificate (CERT_MD5_HASH_PROP_ID).
pub const MD5: u32 = 4;
/// The digest of the signed part, by the signature's own algorithm (CERT_SIGNATURE_HASH_PROP_ID).
pub const SIGNED_DIGEST: u32 = 15;
/// The identifier of the key (CERT_KEY_IDENTIFIER_PROP_ID).
pub const KEY_IDENTIFIER: u32 = 20;
/// The MD5 of the public key (CERT_SUBJECT_PUBLIC_KEY_MD5_HASH_PROP_ID).
pub const KEY_MD5: u32 = 25;
/// The certificate (CERT_CERT_PROP_ID).
pub const CERTIFICATE: u32 = 32;
/// The length of the public key in bits (CERT_SUBJECT_PUB_KEY_BIT_LENGTH_PROP_ID).
pub const KEY_BITS: u32 = 92;

const HEAD_BYTES: usize = 12;
const RESERVED: u32 = 1;

/// A hint that several of these errors share.
const INSTALL_AGAIN: &str = "delete the damaged certificate with `coldforge reg delete`, and install it anew";

/// Why bytes are no serialized certificate.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq, Failure)]
#[non_exhaustive]
pub enum Malformed {
    /// A property leaves the blob.
    #[error("the property at {at:#x} of the certificate's blob is cut")]
    #[failure(refused, "E-CERT-BLOB", hint = INSTALL_AGAIN)]
    Cut {
        /// Where in the blob.
        at: usize,
    },
    /// The word after a property's number is not 1.
    #[error("the property at {at:#x} of the certificate's blob has the word {actual:#x} where 1 belongs")]
    #[failure(refused, "E-CERT-BLOB", hint = INSTALL_AGAIN)]
    Reserved {
        /// Where in the blob.
        at: usize,
        /// The word.
        actual: u32,
    },
    /// The last property is not a certificate, or another one is too.
    #[error("the blob does not end with its one certificate")]
    #[failure(refused, "E-CERT-BLOB", hint = INSTALL_AGAIN)]
    NoCertificate,
}

/// A certificate with its properties.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Blob {
    properties: Vec<(u32, Vec<u8>)>,
}

impl Blob {
    /// Reads the data of a value `Blob`.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut properties, mut at) = (Vec::new(), 0usize);
        // Each turn takes at least the head of a property.
        while at < bytes.len() {
            let cut = |_| Malformed::Cut { at };
            let word = |offset: usize| read::u32_le(bytes, at.saturating_add(offset)).map_err(cut);
            let (number, reserved, length) = (word(0)?, word(4)?, word(8)? as usize);
            if reserved != RESERVED {
                return Err(Malformed::Reserved { at, actual: reserved });
            }
            let data = read::slice(bytes, at.saturating_add(HEAD_BYTES), length).map_err(cut)?;
            properties.push((number, data.to_vec()));
            at = at.saturating_add(HEAD_BYTES).saturating_add(length);
        }
        let certificates = properties.iter().filter(|(number, _)| *number == CERTIFICATE).count();
        match properties.last() {
            Some((CERTIFICATE, _)) if certificates == 1 => Ok(Self { properties }),
            _ => Err(Malformed::NoCertificate),
        }
    }

    /// Returns a certificate with these properties before it.
    pub fn new(mut properties: Vec<(u32, Vec<u8>)>, certificate: Vec<u8>) -> Self {
        properties.retain(|(number, _)| *number != CERTIFICATE);
        properties.push((CERTIFICATE, certificate));
        Self { properties }
    }

    /// Returns the data of a value `Blob`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, data) in &self.properties {
            // Each property was read from, or is made of, less than 4 GiB.
            let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
            bytes.extend([*number, RESERVED, length].into_iter().flat_map(u32::to_le_bytes));
            bytes.extend_from_slice(data);
        }
        bytes
    }

    /// Returns the certificate (X.509, DER).
    pub fn certificate(&self) -> &[u8] {
        self.property(CERTIFICATE).unwrap_or_default()
    }

    /// Returns the data of a property.
    pub fn property(&self, number: u32) -> Option<&[u8]> {
        self.properties.iter().find(|(own, _)| *own == number).map(|(_, data)| data.as_slice())
    }

    /// Returns the numbers of the properties, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.properties.iter().map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_written_as_it_was_read_unknown_properties_and_all() {
        let blob = Blob::new(vec![(SHA1, vec![7; 20]), (0x1234, vec![]), (98, vec![1])], b"0\0".to_vec());
        let bytes = blob.to_bytes();
        assert_eq!(bytes[..12], [3, 0, 0, 0, 1, 0, 0, 0, 20, 0, 0, 0]);
        let again = Blob::parse(&bytes).unwrap();
        assert_eq!((again.certificate(), again.numbers().collect::<Vec<_>>()), (&b"0\0"[..], vec![3, 0x1234, 98, 32]));
        assert_eq!((again.to_bytes(), again.property(98), again.property(4)), (bytes, Some(&[1][..]), None));
    }

    #[test]
    fn no_cut_of_a_blob_is_one_and_no_byte_of_its_heads_may_differ() {
        let whole = Blob::new(vec![(SHA1, vec![7; 20])], b"0\x03\x02\x01\x05".to_vec()).to_bytes();
        for length in 0..whole.len() {
            assert!(Blob::parse(&whole[..length]).is_err(), "{length}");
        }
        for at in [4, 8, 11, 32, 36, 40] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            assert!(Blob::parse(&bytes).is_err(), "{at}");
        }
        let twice = [whole.clone(), whole].concat();
        assert_eq!(Blob::parse(&twice), Err(Malformed::NoCertificate));
    }
}
