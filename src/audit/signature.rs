//! Signatures of a bundle, in the format of minisign: Ed25519 over the BLAKE2b-512 digest of a file.
//!
//! Source: minisign's own description of its formats. A signature is four lines: a comment that nothing covers, the
//! signature, a comment that is signed together with it, and that second signature. Keys are made by `minisign -G`.
//! Ed25519 as it is made here has no randomness: the same key, file and comment give the same bytes.

use std::fmt;

use blake2::{Blake2b256, Blake2b512, Digest as _};
use ed25519_dalek::{Signature as Ed25519, Signer as _, SigningKey, VerifyingKey};

use super::{Error, Result};
use coldforge_base::digest::{base64, from_base64};
use coldforge_base::read;
use coldforge_base::time::Moment;

/// What stands before the first comment.
const COMMENT: &str = "untrusted comment: ";
/// What stands before the comment that is signed.
const TRUSTED: &str = "trusted comment: ";
/// The first comment that minisign writes by itself.
const MADE_BY: &str = "signature from minisign secret key";
/// The algorithm of keys.
const KEY: [u8; 2] = *b"Ed";
/// The algorithm of signatures over a digest; the older one signs the file itself.
const PREHASHED: [u8; 2] = *b"ED";
/// A key under a password, as it is stored: its number, the key pair, and a digest over both.
const LOCKED_BYTES: usize = 8 + 64 + 32;
/// The memory that minisign's own keys ask for. A stranger's key must not make us take more.
const MEMORY_LIMIT_BYTES: u64 = 1 << 30;
/// The work that minisign's own keys ask for.
const WORK_LIMIT: u64 = 1 << 25;

/// A secret key that is ready to sign.
#[derive(Clone)]
pub struct SecretKey {
    number: [u8; 8],
    key: SigningKey,
}

/// A public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicKey {
    number: [u8; 8],
    key: VerifyingKey,
}

/// A signature that was read, and is not proven yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signature {
    number: [u8; 8],
    signature: Ed25519,
    trusted: String,
    over_both: Ed25519,
    /// Whether the first comment, which nothing signs, is the usual one.
    is_own: bool,
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// It is no key of minisign.
    #[error("it is not a key as minisign writes it")]
    Format,
    /// It is under a password, and none was given.
    #[error("it is under a password, and none was given")]
    Locked,
    /// It is under another password.
    #[error("it is under another password, or damaged")]
    Password,
    /// Unlocking it would take more memory or time than minisign's own keys do.
    #[error("unlocking it takes more memory or time than any key that minisign makes")]
    Costly,
}

impl SecretKey {
    /// Reads a secret key: the text of a key file, or its second line alone.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn parse(text: &str, password: Option<&str>) -> Result<Self> {
        Self::read(text, password).map_err(|fault| Error::Key { which: "secret", fault })
    }

    fn read(text: &str, password: Option<&str>) -> std::result::Result<Self, KeyFault> {
        let bytes = key_bytes(text).ok_or(KeyFault::Format)?;
        let (head, rest) = bytes.split_at_checked(6).ok_or(KeyFault::Format)?;
        let (parameters, stored) = rest.split_at_checked(48).ok_or(KeyFault::Format)?;
        let mut stored: [u8; LOCKED_BYTES] = stored.try_into().map_err(|_| KeyFault::Format)?;
        let locked = match head {
            b"EdScB2" => true,
            b"Ed\0\0B2" => false,
            _ => return Err(KeyFault::Format),
        };
        if locked {
            let password = password.ok_or(KeyFault::Locked)?;
            for (byte, mask) in stored.iter_mut().zip(keystream(password, parameters)?) {
                *byte ^= mask;
            }
        }
        let (number, rest) = stored.split_at(8);
        let (pair, check) = rest.split_at(64);
        let digest = Blake2b256::new().chain_update(KEY).chain_update(number).chain_update(pair).finalize();
        // minisign leaves the digest out where there is no password.
        if *check != digest[..] && (locked || check.iter().any(|byte| *byte != 0)) {
            return Err(if locked { KeyFault::Password } else { KeyFault::Format });
        }
        let pair = pair.try_into().map_err(|_| KeyFault::Format)?;
        let key = SigningKey::from_keypair_bytes(&pair).map_err(|_| KeyFault::Format)?;
        Ok(Self { number: number.try_into().map_err(|_| KeyFault::Format)?, key })
    }

    /// Returns the public key that belongs to it.
    pub fn public(&self) -> PublicKey {
        PublicKey { number: self.number, key: self.key.verifying_key() }
    }

    /// Returns the text of a signature over the content of the file `name`, made at the moment `now`.
    pub fn sign(&self, name: &str, content: &[u8], now: Moment) -> String {
        let signature = self.key.sign(&Blake2b512::digest(content)).to_bytes();
        let trusted = format!("timestamp:{}\tfile:{name}\thashed", now.0);
        let over_both = self.key.sign(&[&signature[..], trusted.as_bytes()].concat()).to_bytes();
        let blob = [&PREHASHED[..], &self.number, &signature].concat();
        format!("{COMMENT}{MADE_BY}\n{}\n{TRUSTED}{trusted}\n{}\n", base64(&blob), base64(&over_both))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", shown(&self.number))
    }
}

impl PublicKey {
    /// Reads a public key: the text of a key file, or the base64 alone.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).ok_or(Error::Key { which: "public", fault: KeyFault::Format })
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = key_bytes(text)?;
        let (algorithm, rest) = bytes.split_at_checked(2)?;
        let (number, key) = rest.split_at_checked(8)?;
        let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
        // A weak key is one under which a signature proves nothing.
        (algorithm == KEY && !key.is_weak()).then_some(Self { number: number.try_into().ok()?, key })
    }

    /// Returns the text that `minisign -P` takes.
    pub fn to_base64(&self) -> String {
        base64(&[&KEY[..], &self.number, self.key.as_bytes()].concat())
    }

    /// Proves a signature over a content; the answer is the comment that is signed with it, else what is wrong.
    pub fn prove<'a>(&self, content: &[u8], signature: &'a Signature) -> std::result::Result<&'a str, String> {
        if signature.number != self.number {
            return Err(format!("the key {} made it, not {}", signature.key(), self));
        }
        let digest = Blake2b512::digest(content);
        self.key
            .verify_strict(&digest, &signature.signature)
            .map_err(|_| format!("the key {self} did not sign this file"))?;
        let both = [&signature.signature.to_bytes()[..], signature.trusted.as_bytes()].concat();
        self.key
            .verify_strict(&both, &signature.over_both)
            .map_err(|_| "its comment was changed after it was signed".to_owned())?;
        Ok(&signature.trusted)
    }
}

/// The key's number, as minisign shows it.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.number))
    }
}

impl Signature {
    /// Reads a signature: four lines, each ended by a line feed, and nothing else. `None` of any other spelling, and of
    /// the older algorithm, which signs a file without a digest.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (comment, signature) = (lines.next()?, lines.next()?);
        let (trusted, over_both) = (lines.next()?, lines.next()?);
        if lines.next().is_some() || !comment.starts_with(COMMENT) {
            return None;
        }
        let blob = from_base64(signature)?;
        let (algorithm, rest) = blob.split_at_checked(2)?;
        let (number, signature) = rest.split_at_checked(8)?;
        Some(Self {
            number: (algorithm == PREHASHED).then_some(number)?.try_into().ok()?,
            signature: Ed25519::from_slice(signature).ok()?,
            trusted: trusted.strip_prefix(TRUSTED)?.to_owned(),
            over_both: Ed25519::from_slice(&from_base64(over_both)?).ok()?,
            is_own: comment.strip_prefix(COMMENT) == Some(MADE_BY),
        })
    }

    /// Tells whether the comment that nothing signs is the one that this program writes.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Returns the number of the key that is said to have made it, as minisign shows it.
    pub fn key(&self) -> String {
        shown(&self.number)
    }
}

/// Returns what the line of a key file says that is not a comment.
fn key_bytes(text: &str) -> Option<Vec<u8>> {
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let first = lines.next()?;
    let line = if first.starts_with(COMMENT) { lines.next()? } else { first };
    if lines.next().is_some() {
        return None;
    }
    from_base64(line)
}

/// Returns a key's number as minisign shows it: a little-endian number in upper-case hex digits.
fn shown(number: &[u8; 8]) -> String {
    format!("{:016X}", u64::from_le_bytes(*number))
}

/// Derives from a password what a stored key is masked with.
fn keystream(password: &str, parameters: &[u8]) -> std::result::Result<[u8; LOCKED_BYTES], KeyFault> {
    let salt = parameters.get(..32).ok_or(KeyFault::Format)?;
    let number = |at: usize| read::u64_le(parameters, at).ok().ok_or(KeyFault::Format);
    let (work, memory_bytes) = (number(32)?, number(40)?);
    if work > WORK_LIMIT || memory_bytes > MEMORY_LIMIT_BYTES {
        return Err(KeyFault::Costly);
    }
    let (log_n, parallel) = cost(work, memory_bytes);
    let parameters = scrypt::Params::new(log_n, BLOCK, parallel).map_err(|_| KeyFault::Costly)?;
    let mut stream = [0u8; LOCKED_BYTES];
    scrypt::scrypt(password.as_bytes(), salt, &parameters, &mut stream).map_err(|_| KeyFault::Costly)?;
    Ok(stream)
}

/// scrypt's r, which libsodium never changes.
const BLOCK: u32 = 8;

/// Returns the N (as its logarithm) and the p of scrypt that libsodium chooses for a work and a memory limit
/// (`crypto_pwhash_scryptsalsa208sha256`); both are bounded by the caller.
fn cost(work: u64, memory_bytes: u64) -> (u8, u32) {
    let work = work.max(32_768);
    let log = |most: u64| (1..63u8).find(|n| 1u64 << n > most / 2).unwrap_or(63);
    if work < memory_bytes / 32 {
        return (log(work / (u64::from(BLOCK) * 4)), 1);
    }
    let log_n = log(memory_bytes / (u64::from(BLOCK) * 128));
    let rounds = (work / 4) >> log_n;
    (log_n, u32::try_from(rounds.min(0x3fff_ffff) / u64::from(BLOCK)).unwrap_or(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `minisign -G -W`: a key of no worth.
    const SECRET: &str = "untrusted comment: minisign encrypted secret key\n\
        RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA5H7yTXY/6CSn1KcNng6em0VeOPGWuJEA6X8ZOKuL\
        ZzRe7KmjdV8EEToK3fHb1Em5TuZXVioafXvTUwe4Qma1nh5FvL3iSbaKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    const PUBLIC: &str = "RWTkfvJNdj/oJDoK3fHb1Em5TuZXVioafXvTUwe4Qma1nh5FvL3iSbaK";
    /// Made by `minisign -S` with it, over "hi" and a line feed.
    const SIGNED: &str = "untrusted comment: signature from minisign secret key\n\
        RUTkfvJNdj/oJBYB7wPIvvxaCBrMdAKdzNGn9Mjbk7drB+OfMV0SduKiNiIzrju9UcOwOacogzfB2nb5jdlOtODjWadwF199uAs=\n\
        trusted comment: timestamp:1795478700\tfile:m\thashed\n\
        JX19RSduISebSHUY9TMrKHtfRWd6cdnjp1mF7ks9iVnfHPClEf7bAb/1Xvn/8OwhbtlZD7VOQC1k1I3GsuPxAg==\n";

    #[test]
    fn a_signature_is_the_one_that_minisign_makes() {
        let key = SecretKey::parse(SECRET, None).unwrap();
        assert_eq!(key.public().to_base64(), PUBLIC);
        assert_eq!(key.sign("m", b"hi\n", Moment(1_795_478_700)), SIGNED);
        assert_eq!(key.public().to_string(), "24E83F764DF27EE4");
        assert!(!format!("{key:?}").contains(&SECRET[60..80]));
    }

    #[test]
    fn every_changed_bit_behind_the_first_comment_breaks_a_signature() {
        let key = PublicKey::parse(PUBLIC).unwrap();
        let proves = |text: &str| {
            let signature = Signature::parse(text);
            signature.is_some_and(|signature| key.prove(b"hi\n", &signature).is_ok())
        };
        assert!(proves(SIGNED));
        for at in (0..COMMENT.len()).chain(COMMENT.len() + MADE_BY.len()..SIGNED.len()) {
            for bit in 0..7 {
                let mut bytes = SIGNED.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                assert!(!proves(&String::from_utf8(bytes).unwrap()), "bit {bit} of byte {at}");
            }
        }
        assert!(!proves(&SIGNED[..SIGNED.len() - 1]) && !proves(&format!("{SIGNED}\n")));
        assert!(key.prove(b"hi", &Signature::parse(SIGNED).unwrap()).is_err());
    }

    #[test]
    fn a_key_is_read_with_and_without_its_comment_and_in_no_other_form() {
        let line = SECRET.lines().nth(1).unwrap();
        assert!(SecretKey::parse(line, None).is_ok());
        assert!(PublicKey::parse(&format!("untrusted comment: x\r\n{PUBLIC}\r\n")).is_ok());
        for wrong in ["", "untrusted comment: x\n", PUBLIC, &line[4..], &format!("{line}\n{line}")] {
            assert!(SecretKey::parse(wrong, None).is_err(), "{wrong}");
        }
        for wrong in ["", line, &PUBLIC[..52], &base64(&[&b"Ed12345678"[..], &[0; 32]].concat())] {
            assert!(PublicKey::parse(wrong).is_err(), "{wrong}");
        }
        let mut damaged = from_base64(line).unwrap();
        damaged[70] ^= 1;
        let damaged = SecretKey::parse(&base64(&damaged), None);
        assert!(
            matches!(damaged, Err(Error::Key { fault: KeyFault::Format, .. })),
            "the halves do not belong together"
        );
    }

    #[test]
    fn a_key_under_a_password_opens_with_that_one_only() {
        let mut bytes = from_base64(SECRET.lines().nth(1).unwrap()).unwrap();
        bytes[2..4].copy_from_slice(b"Sc");
        bytes[38..46].copy_from_slice(&32_768u64.to_le_bytes());
        bytes[46..54].copy_from_slice(&(16u64 << 20).to_le_bytes());
        let check = Blake2b256::new().chain_update(KEY).chain_update(&bytes[54..126]).finalize();
        bytes[126..].copy_from_slice(&check);
        let stream = keystream("secret", &bytes[6..54]).unwrap();
        for (byte, mask) in bytes[54..].iter_mut().zip(stream) {
            *byte ^= mask;
        }
        let fault = |bytes: &[u8], password| match SecretKey::parse(&base64(bytes), password) {
            Ok(key) => Ok(key.public().to_base64()),
            Err(Error::Key { fault, .. }) => Err(fault),
            Err(_) => Err(KeyFault::Format),
        };
        assert_eq!(fault(&bytes, Some("secret")), Ok(PUBLIC.to_owned()));
        assert_eq!(fault(&bytes, Some("Secret")), Err(KeyFault::Password));
        assert_eq!(fault(&bytes, None), Err(KeyFault::Locked));
        bytes[46..54].copy_from_slice(&(1u64 << 40).to_le_bytes());
        assert_eq!(fault(&bytes, Some("secret")), Err(KeyFault::Costly));
    }

    #[test]
    fn a_password_costs_what_libsodium_makes_it_cost() {
        assert_eq!(cost(1 << 25, 1 << 30), (20, 1), "what minisign asks for");
        assert_eq!(cost(524_288, 16 << 20), (14, 1), "libsodium's interactive limits");
        assert_eq!(cost(0, 16 << 20), (10, 1));
    }
}
