//! `Registry.pol` files (MS-GPREG 2.2.1): the registry values that a group policy object gives a machine or a user.
//!
//! A head (`PReg`, version 1), then entries of UTF-16LE text and numbers between brackets:
//! `[key;name;type;size;data]`. Names that begin with `**` are orders: delete a value, all values, some subkeys.
//!
//! Every entry keeps its bytes, so that what is not edited is written as it was read. An entry that is not understood
//! ends the reading: what follows is kept as it is ([`RegistryPol::broken`]), and the file cannot be edited.

use thiserror::Error;

use coldforge_base::Failure;
use coldforge_base::{read, utf16};

const HEAD: [u8; 8] = *b"PReg\x01\0\0\0";
const SZ: u32 = 1;
/// The data of an order to delete a value: a blank, as Windows writes it.
const BLANK: [u8; 4] = [b' ', 0, 0, 0];
/// No key, name or data of the registry is longer; more would be no policy.
const MOST_DATA_BYTES: usize = 1 << 20;

/// A hint that several of these errors share.
const WRITE_AGAIN: &str =
    "delete the damaged Registry.pol, or write it anew with the group policy editor of a booted Windows";

/// Why a file is no `Registry.pol`, or cannot be edited.
#[derive(Clone, Debug, Eq, Error, PartialEq, Failure)]
#[non_exhaustive]
pub enum Error {
    /// The file does not begin as version 1 does.
    #[error("the file does not begin with the head of a Registry.pol of version 1")]
    #[failure(refused, "E-POL-HEAD", hint = WRITE_AGAIN)]
    Head,
    /// An entry is not understood, so the file must not be edited.
    #[error("the entry of the Registry.pol at {at:#x} lacks {expected}")]
    #[failure(refused, "E-POL-BROKEN", hint = WRITE_AGAIN)]
    Broken {
        /// Where in the file.
        at: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// The file has an order that is not understood and may reach the entry that is edited.
    #[error("the order `{name}` of the Registry.pol for `{key}` is not understood")]
    #[failure(refused, "E-POL-ORDER", hint = "remove the order with the group policy editor of a booted Windows")]
    Order {
        /// The key of the order.
        key: String,
        /// The order.
        name: String,
    },
    /// A key, name or data cannot be an entry.
    #[error("`{name}` below `{key}` cannot be an entry of a Registry.pol")]
    #[failure(usage, hint = "give a key and a name without NUL, a name that does not begin with `**`, and less data")]
    Unfit {
        /// The key.
        key: String,
        /// The name.
        name: String,
    },
}

/// An entry, or an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The key, below the hive of the machine or the user.
    pub key: String,
    /// The value's name, or an order such as `**del.Name`.
    pub name: String,
    /// The type of the value, by its number.
    pub kind: u32,
    /// The data as it is stored in the registry.
    pub data: Vec<u8>,
    /// The bytes of the file, brackets included.
    bytes: Vec<u8>,
}

/// What a file does to one value, all its entries taken in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect<'p> {
    /// It leaves the value alone.
    Nothing,
    /// It sets the value.
    Sets(&'p Entry),
    /// It deletes the value.
    Deletes(&'p Entry),
    /// An order that is not understood may reach the value.
    Unclear(&'p Entry),
}

/// What an entry orders.
enum Order<'e> {
    /// To make the key, without a value.
    Key,
    Set(&'e str),
    Delete(&'e str),
    DeleteAll,
    DeleteValues(Vec<String>),
    DeleteSubkeys(Vec<String>),
    /// The key's security, and no value of it.
    Secure,
    Unknown,
}

impl Entry {
    fn new(key: &str, name: &str, kind: u32, data: &[u8]) -> Result<Self, Error> {
        let unfit = || Error::Unfit { key: key.to_owned(), name: name.to_owned() };
        let length = u32::try_from(data.len()).map_err(|_| unfit())?;
        if key.is_empty() || key.contains('\0') || name.contains('\0') || data.len() > MOST_DATA_BYTES {
            return Err(unfit());
        }
        let mut bytes = utf16::encode("[");
        bytes.extend(utf16::encode_with_nul(key));
        bytes.extend(utf16::encode(";"));
        bytes.extend(utf16::encode_with_nul(name));
        for number in [kind, length] {
            bytes.extend(utf16::encode(";"));
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(utf16::encode(";"));
        bytes.extend_from_slice(data);
        bytes.extend(utf16::encode("]"));
        Ok(Self { key: key.to_owned(), name: name.to_owned(), kind, data: data.to_vec(), bytes })
    }

    fn order(&self) -> Order<'_> {
        let Some(order) = self.name.strip_prefix("**") else {
            return match (self.name.as_str(), self.kind, self.data.len()) {
                ("", 0, 0) => Order::Key,
                (name, ..) => Order::Set(name),
            };
        };
        if let Some(name) = order.get(..4).filter(|word| word.eq_ignore_ascii_case("del.")).and(order.get(4..)) {
            return Order::Delete(name);
        }
        let listed = || {
            let text = utf16::decode_to_nul(&self.data);
            text.split(';').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        // The editor writes some of them with a dot at the end.
        match order.strip_suffix('.').unwrap_or(order).to_ascii_lowercase().as_str() {
            "delvals" => Order::DeleteAll,
            "deletevalues" => Order::DeleteValues(listed()),
            "deletekeys" => Order::DeleteSubkeys(listed()),
            "securekey" => Order::Secure,
            _ => Order::Unknown,
        }
    }

    /// Tells whether this is an entry or a deletion of exactly this value.
    fn is_about(&self, key: &str, name: &str) -> bool {
        is_same_key(&self.key, key)
            && match self.order() {
                Order::Set(own) | Order::Delete(own) => is_same(own, name),
                _ => false,
            }
    }
}

/// A `Registry.pol` file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RegistryPol {
    entries: Vec<Entry>,
    /// What follows the last entry that is understood.
    rest: Vec<u8>,
    broken: Option<Error>,
}

impl RegistryPol {
    /// Reads a file. What cannot be understood is kept, and told by [`RegistryPol::broken`].
    ///
    /// # Errors
    /// [`Error::Head`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut rest = bytes.strip_prefix(&HEAD).ok_or(Error::Head)?;
        let mut pol = Self::default();
        // Each turn takes at least an entry's brackets.
        while !rest.is_empty() {
            match entry(rest) {
                Ok((found, length)) => {
                    pol.entries.push(found);
                    rest = rest.get(length..).unwrap_or_default();
                }
                Err(expected) => {
                    pol.broken = Some(Error::Broken { at: bytes.len().saturating_sub(rest.len()), expected });
                    pol.rest = rest.to_vec();
                    break;
                }
            }
        }
        Ok(pol)
    }

    /// Returns the bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let entries = self.entries.iter().flat_map(|entry| &entry.bytes);
        HEAD.iter().chain(entries).chain(&self.rest).copied().collect()
    }

    /// Returns the entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns what is wrong with the first entry that is not understood: the file must not be edited.
    pub fn broken(&self) -> Option<&Error> {
        self.broken.as_ref()
    }

    /// Returns what the file does to a value. Entries behind a broken one are not known.
    pub fn effect(&self, key: &str, name: &str) -> Effect<'_> {
        let mut effect = Effect::Nothing;
        for entry in &self.entries {
            let is_here = is_same_key(&entry.key, key);
            match entry.order() {
                Order::Set(own) if is_here && is_same(own, name) => effect = Effect::Sets(entry),
                Order::Delete(own) if is_here && is_same(own, name) => effect = Effect::Deletes(entry),
                Order::DeleteAll if is_here => effect = Effect::Deletes(entry),
                Order::DeleteValues(names) if is_here && names.iter().any(|own| is_same(own, name)) => {
                    effect = Effect::Deletes(entry);
                }
                Order::DeleteSubkeys(names) if names.iter().any(|sub| is_in(key, &format!(r"{}\{sub}", entry.key))) => {
                    effect = Effect::Deletes(entry);
                }
                Order::Unknown if is_in(key, &entry.key) => return Effect::Unclear(entry),
                _ => {}
            }
        }
        effect
    }

    /// Makes the file set a value, and returns whether it was changed for that.
    ///
    /// The last entry for the value is changed where it stands; others for it go. Where an order further down would
    /// undo it, the entry is moved to the end.
    ///
    /// # Errors
    /// [`Error::Broken`], [`Error::Order`], [`Error::Unfit`]; nothing is changed then.
    pub fn set(&mut self, key: &str, name: &str, kind: u32, data: &[u8]) -> Result<bool, Error> {
        if name.starts_with("**") {
            return Err(Error::Unfit { key: key.to_owned(), name: name.to_owned() });
        }
        self.put(key, name, Entry::new(key, name, kind, data)?)
    }

    /// Makes the file delete a value from the registry, and returns whether it was changed for that.
    ///
    /// # Errors
    /// As [`RegistryPol::set`].
    pub fn order_deletion(&mut self, key: &str, name: &str) -> Result<bool, Error> {
        self.put(key, name, Entry::new(key, &format!("**del.{name}"), SZ, &BLANK)?)
    }

    /// Removes every entry that sets or deletes exactly this value, so that it is not configured; returns whether there
    /// was one.
    ///
    /// # Errors
    /// [`Error::Broken`]; nothing is changed then.
    pub fn forget(&mut self, key: &str, name: &str) -> Result<bool, Error> {
        self.editable()?;
        let before = self.entries.len();
        self.entries.retain(|entry| !entry.is_about(key, name));
        Ok(self.entries.len() != before)
    }

    fn editable(&self) -> Result<(), Error> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    fn put(&mut self, key: &str, name: &str, new: Entry) -> Result<bool, Error> {
        self.editable()?;
        let is_done = |effect: &Effect<'_>| match effect {
            Effect::Sets(own) | Effect::Deletes(own) => {
                own.is_about(key, name) && is_same(&own.name, &new.name) && own.kind == new.kind && own.data == new.data
            }
            _ => false,
        };
        match self.effect(key, name) {
            Effect::Unclear(entry) => return Err(Error::Order { key: entry.key.clone(), name: entry.name.clone() }),
            effect if is_done(&effect) => return Ok(false),
            _ => {}
        }
        let last = self.entries.iter().rposition(|entry| entry.is_about(key, name));
        let (mut kept, mut place) = (Vec::with_capacity(self.entries.len().saturating_add(1)), None);
        for (index, entry) in self.entries.drain(..).enumerate() {
            if Some(index) == last {
                place = Some(kept.len());
                // The spelling of the key that is there stays.
                kept.push(Entry::new(&entry.key, &new.name, new.kind, &new.data).unwrap_or_else(|_| new.clone()));
            } else if !entry.is_about(key, name) {
                kept.push(entry);
            }
        }
        self.entries = kept;
        if place.is_some_and(|_| is_done(&self.effect(key, name))) {
            return Ok(true);
        }
        if let Some(place) = place {
            self.entries.remove(place);
        }
        self.entries.push(new);
        Ok(true)
    }
}

/// Reads the entry at the start of `bytes`, and returns it with its length in bytes; or what is not there.
fn entry(bytes: &[u8]) -> Result<(Entry, usize), &'static str> {
    let mut at = 0usize;
    let mark = |at: &mut usize, mark: u8, expected: &'static str| -> Result<(), &'static str> {
        let found = read::array(bytes, *at) == Ok([mark, 0]);
        *at = at.saturating_add(2);
        if found { Ok(()) } else { Err(expected) }
    };
    let text = |at: &mut usize, expected: &'static str| -> Result<String, &'static str> {
        let rest = bytes.get(*at..).unwrap_or_default();
        let units = rest.chunks_exact(2).position(|unit| unit == [0, 0]).ok_or(expected)?;
        let length = units.saturating_mul(2);
        *at = at.saturating_add(length).saturating_add(2);
        Ok(utf16::decode(rest.get(..length).unwrap_or_default()))
    };
    let number = |at: &mut usize, expected: &'static str| -> Result<u32, &'static str> {
        let number = read::u32_le(bytes, *at).map_err(|_| expected)?;
        *at = at.saturating_add(4);
        Ok(number)
    };
    mark(&mut at, b'[', "`[` at its begin")?;
    let key = text(&mut at, "a NUL behind its key")?;
    mark(&mut at, b';', "`;` behind its key")?;
    let name = text(&mut at, "a NUL behind its name")?;
    mark(&mut at, b';', "`;` behind its name")?;
    let kind = number(&mut at, "its type")?;
    mark(&mut at, b';', "`;` behind its type")?;
    let length = number(&mut at, "its size")? as usize;
    mark(&mut at, b';', "`;` behind its size")?;
    let data = read::slice(bytes, at, length).map_err(|_| "its data")?.to_vec();
    at = at.saturating_add(length);
    mark(&mut at, b']', "`]` at its end")?;
    let bytes = bytes.get(..at).unwrap_or_default().to_vec();
    Ok((Entry { key, name, kind, data, bytes }, at))
}

/// Compares names as the registry does for the letters that names of policies have.
fn is_same(a: &str, b: &str) -> bool {
    let upper = |text: &str| text.chars().flat_map(char::to_uppercase).collect::<String>();
    a.eq_ignore_ascii_case(b) || upper(a) == upper(b)
}

fn parts(key: &str) -> impl Iterator<Item = &str> {
    key.split('\\').filter(|part| !part.is_empty())
}

fn is_same_key(a: &str, b: &str) -> bool {
    parts(a).count() == parts(b).count() && is_in(a, b)
}

/// Tells whether a key is `above`, or lies below it.
fn is_in(key: &str, above: &str) -> bool {
    let mut names = parts(key);
    parts(above).all(|part| names.next().is_some_and(|name| is_same(name, part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(entries: &[(&str, &str, u32, &[u8])]) -> Vec<u8> {
        let mut bytes = HEAD.to_vec();
        for (key, name, kind, data) in entries {
            bytes.extend(Entry::new(key, name, *kind, data).unwrap().bytes);
        }
        bytes
    }

    fn names(pol: &RegistryPol) -> Vec<&str> {
        pol.entries().iter().map(|entry| entry.name.as_str()).collect()
    }

    const ONE: &[u8] = &[1, 0, 0, 0];

    #[test]
    fn entries_are_read_and_written_as_they_were_whatever_their_data_looks_like() {
        let bytes = file(&[("A", "]", 3, b"]\0[\0;\0"), (r"A\B", "", 0, b""), ("A", "**delvals.", 1, &BLANK)]);
        let pol = RegistryPol::parse(&bytes).unwrap();
        assert_eq!((names(&pol), pol.broken()), (vec!["]", "", "**delvals."], None));
        assert_eq!((pol.entries()[0].data.as_slice(), pol.to_bytes()), (&b"]\0[\0;\0"[..], bytes));
        assert_eq!(RegistryPol::parse(&HEAD).unwrap().to_bytes(), HEAD);
        assert_eq!(RegistryPol::default().to_bytes(), HEAD);
        for head in [&b""[..], b"PReg", b"PReg\x02\0\0\0", b"preg\x01\0\0\0"] {
            assert_eq!(RegistryPol::parse(head), Err(Error::Head));
        }
    }

    #[test]
    fn an_entry_is_changed_where_it_stands_and_a_second_time_nothing_changes() {
        let mut pol = RegistryPol::parse(&file(&[
            ("Software\\A", "x", 4, ONE),
            ("SOFTWARE\\a", "Y", 4, ONE),
            ("Software\\A", "z", 4, ONE),
        ]))
        .unwrap();
        assert!(pol.set("Software\\A", "y", 4, &[2, 0, 0, 0]).unwrap());
        assert_eq!(names(&pol), ["x", "y", "z"]);
        assert_eq!(pol.entries()[1].key, "SOFTWARE\\a");
        assert!(!pol.set("software\\A\\", "Y", 4, &[2, 0, 0, 0]).unwrap());
        assert!(pol.set("Software\\New", "n", 1, b"a\0\0\0").unwrap());
        assert_eq!(RegistryPol::parse(&pol.to_bytes()).unwrap(), pol);
        assert!(pol.order_deletion("Software\\A", "x").unwrap() && !pol.order_deletion("Software\\A", "X").unwrap());
        assert_eq!(names(&pol), ["**del.x", "y", "z", "n"]);
        assert!(matches!(pol.effect("software\\a", "X"), Effect::Deletes(_)));
        assert!(pol.order_deletion("Software\\A", "").unwrap() && pol.forget("Software\\A", "").unwrap());
        assert!(pol.forget("Software\\A", "x").unwrap() && !pol.forget("Software\\A", "x").unwrap());
        assert_eq!(names(&pol), ["y", "z", "n"]);
    }

    #[test]
    fn what_a_file_does_to_a_value_is_what_its_last_word_is() {
        let list = utf16::encode_with_nul("one; Two");
        let bytes = file(&[
            ("K", "v", 4, ONE),
            ("K", "**del.w", 1, &BLANK),
            ("K", "w", 4, ONE),
            ("K", "keep", 4, ONE),
            ("L", "a", 4, ONE),
            ("L", "**DelVals", 1, &BLANK),
            ("L", "b", 4, ONE),
            ("M", "**DeleteValues", 1, &list),
            ("N", "**DeleteKeys", 1, &list),
            ("O", "**SecureKey", 4, ONE),
            ("P", "**soft.x", 4, ONE),
            ("Q", "", 0, b""),
        ]);
        let pol = RegistryPol::parse(&bytes).unwrap();
        let told = |key, name| match pol.effect(key, name) {
            Effect::Nothing => "nothing",
            Effect::Sets(_) => "sets",
            Effect::Deletes(_) => "deletes",
            Effect::Unclear(_) => "unclear",
        };
        for (key, name, expected) in [
            ("k", "V", "sets"),
            ("K", "w", "sets"),
            ("K", "x", "nothing"),
            ("L", "a", "deletes"),
            ("L", "other", "deletes"),
            ("L", "b", "sets"),
            ("M", "two", "deletes"),
            ("M", "three", "nothing"),
            (r"N\One", "x", "deletes"),
            (r"N\two\deep", "x", "deletes"),
            (r"N\twofold", "x", "nothing"),
            ("N", "one", "nothing"),
            ("O", "x", "nothing"),
            ("P", "y", "unclear"),
            (r"P\below", "y", "unclear"),
            ("Q", "", "nothing"),
        ] {
            assert_eq!(told(key, name), expected, "{key} {name}");
        }
    }

    #[test]
    fn an_entry_that_an_order_further_down_would_undo_goes_behind_it() {
        let bytes = file(&[("K", "a", 4, ONE), ("K", "**delvals.", 1, &BLANK), ("K", "b", 4, ONE)]);
        let mut pol = RegistryPol::parse(&bytes).unwrap();
        assert!(pol.set("K", "a", 4, ONE).unwrap());
        assert_eq!(names(&pol), ["**delvals.", "b", "a"]);
        assert!(!pol.set("K", "a", 4, ONE).unwrap());
    }

    #[test]
    fn a_broken_entry_is_kept_and_forbids_edits_and_so_does_an_order_that_is_not_understood() {
        let whole = file(&[("K", "a", 4, ONE), ("K", "b", 4, ONE)]);
        for cut in (HEAD.len() + 1)..whole.len() {
            let mut pol = RegistryPol::parse(&whole[..cut]).unwrap();
            assert_eq!(pol.to_bytes(), &whole[..cut]);
            if pol.broken().is_some() {
                let refused = pol.set("K", "c", 4, ONE).unwrap_err();
                assert!(matches!(refused, Error::Broken { .. }));
                assert_eq!(pol.forget("K", "a"), Err(refused));
                assert_eq!(pol.to_bytes(), &whole[..cut]);
            } else {
                assert_eq!((cut - HEAD.len()) * 2, whole.len() - HEAD.len());
            }
        }
        let mut pol = RegistryPol::parse(&file(&[("K", "**What", 1, &BLANK)])).unwrap();
        assert_eq!(pol.set(r"K\x", "a", 4, ONE), Err(Error::Order { key: "K".into(), name: "**What".into() }));
        for (key, name) in [("", "a"), ("A\0", "a"), ("A", "a\0"), ("A", "**del.x")] {
            assert!(matches!(pol.set(key, name, 4, ONE), Err(Error::Unfit { .. })), "{key} {name}");
        }
    }

    #[test]
    fn names_that_are_no_text_are_kept_bit_by_bit() {
        let mut bytes = file(&[("K", "a?b", 4, ONE)]);
        let at = bytes.windows(2).position(|unit| unit == [b'?', 0]).unwrap();
        bytes[at + 1] = 0xd8;
        let mut pol = RegistryPol::parse(&bytes).unwrap();
        assert_eq!(pol.to_bytes(), bytes);
        pol.set("L", "x", 4, ONE).unwrap();
        assert!(pol.to_bytes().starts_with(&bytes));
    }

    proptest::proptest! {
        #[test]
        fn any_entries_survive_writing_and_reading(
            entries in proptest::collection::vec(
                ("[A-Za-z\\\\]{1,12}", "[^\0]{0,8}", proptest::prelude::any::<(u32, Vec<u8>)>()), 0..8),
        ) {
            let entries: Vec<_> = entries.iter().map(|(k, n, (t, d))| (k.as_str(), n.as_str(), *t, d.as_slice())).collect();
            let bytes = file(&entries);
            let pol = RegistryPol::parse(&bytes).unwrap();
            proptest::prop_assert!(pol.broken().is_none());
            proptest::prop_assert_eq!(pol.to_bytes(), bytes);
            let told: Vec<_> = pol.entries().iter().map(|e| (e.key.as_str(), e.name.as_str(), e.kind, e.data.as_slice())).collect();
            proptest::prop_assert_eq!(told, entries);
        }
    }
}
