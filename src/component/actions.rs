//! The actions of component documents: the inputs of each, and how it is handled on a powered-off machine.

/// What an input is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A text; a number is taken as it is written.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Number,
    /// A list of texts.
    Texts,
    /// What the action itself reads.
    Any,
}

/// One input: its name, what it is, whether it must be there.
pub(super) type Input = (&'static str, Kind, bool);

/// What becomes of an action on a powered-off machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Offline {
    /// It is carried out.
    Done,
    /// It is a script, and the policy for scripts tells.
    Script,
    /// It starts a program, which can be left to the first start: why it cannot be done before.
    Program(&'static str),
    /// It says what the run as a whole applies, and is heard before the first step is done.
    Run,
    /// It downloads something, which a mirror folder can replace; the text says why it needs one.
    Download(&'static str),
    /// It is not an action of Windows.
    OtherSystem,
    /// It cannot be done: why.
    Never(&'static str),
}

/// One action.
#[derive(Debug)]
pub(super) struct Action {
    /// Its name.
    pub name: &'static str,
    /// Whether its inputs are a list of maps, one each time it is done, instead of one map.
    pub is_list: bool,
    /// Its inputs.
    pub inputs: &'static [Input],
    /// What becomes of it.
    pub offline: Offline,
}

impl Action {
    /// Returns an action by its name, whose case counts.
    pub fn named(name: &str) -> Option<&'static Self> {
        ACTIONS.iter().find(|action| action.name == name)
    }
}

use Kind::{Any, Flag, Number, Text, Texts};
use Offline::{Done, Download, Never, OtherSystem, Program, Run, Script};

const PATH: Input = ("path", Text, true);
const SOURCE: Input = ("source", Text, true);
const DESTINATION: Input = ("destination", Text, true);
const OVERWRITE: Input = ("overwrite", Flag, false);
const ENCODING: Input = ("encoding", Text, false);
const CONTENT: Input = ("content", Text, false);
const NETWORK: &str = "nothing is fetched from a network: name a folder of downloads, or put the file next to the document and use InstallFiles";
const INSTALLER: &str = "an installer runs programs of its own";

const fn each(name: &'static str, inputs: &'static [Input], offline: Offline) -> Action {
    Action { name, is_list: true, inputs, offline }
}

const fn once(name: &'static str, inputs: &'static [Input], offline: Offline) -> Action {
    Action { name, is_list: false, inputs, offline }
}

/// Every action of EC2 Image Builder, then those that only coldforge has.
pub(super) const ACTIONS: &[Action] = &[
    each("AppendFile", &[PATH, CONTENT, ENCODING], Done),
    each("CopyFile", &[SOURCE, DESTINATION, OVERWRITE], Done),
    each("CopyFolder", &[SOURCE, DESTINATION, OVERWRITE], Done),
    each(
        "CreateFile",
        &[
            PATH,
            CONTENT,
            ENCODING,
            OVERWRITE,
            ("owner", Text, false),
            ("group", Text, false),
            ("permissions", Text, false),
        ],
        Done,
    ),
    each(
        "CreateFolder",
        &[PATH, OVERWRITE, ("owner", Text, false), ("group", Text, false), ("permissions", Text, false)],
        Done,
    ),
    each("CreateSymlink", &[], OtherSystem),
    each("DeleteFile", &[PATH], Done),
    each("DeleteFolder", &[PATH, ("force", Flag, false)], Done),
    each("ListFiles", &[PATH, ("fileNamePattern", Text, false), ("recursive", Flag, false)], Done),
    each("MoveFile", &[SOURCE, DESTINATION, OVERWRITE], Done),
    each("MoveFolder", &[SOURCE, DESTINATION, OVERWRITE], Done),
    each("ReadFile", &[PATH, ENCODING, ("printFileContent", Flag, false)], Done),
    each("SetFileEncoding", &[PATH, ENCODING], Done),
    each("SetFileOwner", &[], OtherSystem),
    each("SetFolderOwner", &[], OtherSystem),
    each("SetFilePermissions", &[], OtherSystem),
    each("SetFolderPermissions", &[], OtherSystem),
    each("S3Download", &[SOURCE, DESTINATION, ("expectedBucketOwner", Text, false), OVERWRITE], Download(NETWORK)),
    each(
        "S3Upload",
        &[SOURCE, DESTINATION, ("recurse", Flag, false), ("expectedBucketOwner", Text, false)],
        Never("nothing is sent to a network"),
    ),
    each(
        "WebDownload",
        &[
            SOURCE,
            DESTINATION,
            OVERWRITE,
            ("checksum", Text, false),
            ("algorithm", Text, false),
            ("ignoreCertificateErrors", Flag, false),
        ],
        Download(NETWORK),
    ),
    once("ExecuteBash", &[], OtherSystem),
    once("ExecutePowerShell", &[("commands", Texts, false), ("file", Text, false)], Script),
    once("ExecuteBinary", &[PATH, ("arguments", Texts, false)], Program("a program has to run")),
    once(
        "ExecuteDocument",
        &[
            ("document", Text, true),
            ("document-s3-bucket-owner", Text, false),
            ("phases", Text, false),
            ("parameters", Any, false),
        ],
        Never("documents are not nested: name the other one beside this one"),
    ),
    once("InstallMSI", MSI, Program(INSTALLER)),
    once("UninstallMSI", MSI, Program(INSTALLER)),
    once("Reboot", &[("delaySeconds", Number, false)], Never("a powered-off machine does not start anew")),
    each("SetRegistry", &[PATH, ("name", Text, true), ("value", Any, true), ("type", Text, true)], Done),
    once(
        "UpdateOS",
        &[("include", Texts, false), ("exclude", Texts, false)],
        Never("updates are installed by Windows"),
    ),
    once("Assert", &[], Done),
    each("AssertRegistry", &[PATH, ("name", Text, true), ("value", Any, false), ("type", Text, false)], Done),
    each("SetService", &[("name", Text, true), ("startupType", Text, true)], Done),
    each("InstallFiles", &[SOURCE, DESTINATION, OVERWRITE], Done),
    each("InstallCertificate", &[SOURCE, ("store", Text, false)], Done),
    each("ApplyPolicy", &[SOURCE], Run),
    once("ApplyStig", &[("release", Text, false), ("level", Text, false), ("with", Texts, false)], Run),
];

const MSI: &[Input] = &[
    PATH,
    ("reboot", Text, false),
    ("logOptions", Text, false),
    ("logFile", Text, false),
    ("properties", Any, false),
    ("ignoreAuthenticodeSignatureErrors", Flag, false),
    ("allowUnsignedInstaller", Flag, false),
];
