//! Read component documents. Input: the YAML.
#![no_main]

use std::collections::BTreeMap;

use coldforge::component::{Component, Scripts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let Ok(component) = Component::parse("fuzz", input, &BTreeMap::new()) else { return };
    for scripts in [Scripts::Fail, Scripts::Skip, Scripts::Translate, Scripts::FirstBoot] {
        component.objections(scripts);
        component.script_steps(scripts);
    }
});
