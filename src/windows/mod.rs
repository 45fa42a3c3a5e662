//! Floor 3: an installed Windows, offline. Only this floor knows that a hive is a file.

pub mod setting;

pub use setting::{Change, Found, Identity, Role, Setting, SettingError, Settings, Value, ValueType};
