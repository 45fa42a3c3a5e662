//! The privileges and logon rights that Windows knows, by constant name (MS-LSAD 3.1.1.2).

/// A privilege or a logon right.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Right {
    pub(super) name: &'static str,
    pub(super) encoding: RightEncoding,
}

/// How a right is stored.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum RightEncoding {
    /// A number in the set of privileges.
    Privilege(u32),
    /// A bit of the logon rights.
    Logon(u32),
}

impl Right {
    /// Returns all rights.
    pub fn all() -> &'static [Self] {
        &RIGHTS
    }

    /// Returns the right with this constant, such as `SeDebugPrivilege`; case does not matter.
    pub fn named(name: &str) -> Option<Self> {
        RIGHTS.iter().find(|right| right.name.eq_ignore_ascii_case(name)).copied()
    }

    /// Returns its constant.
    pub fn name(self) -> &'static str {
        self.name
    }
}

const fn privilege(luid: u32, name: &'static str) -> Right {
    Right { name, encoding: RightEncoding::Privilege(luid) }
}

const fn logon(bit: u32, name: &'static str) -> Right {
    Right { name, encoding: RightEncoding::Logon(bit) }
}

pub(super) static RIGHTS: [Right; 45] = [
    privilege(2, "SeCreateTokenPrivilege"),
    privilege(3, "SeAssignPrimaryTokenPrivilege"),
    privilege(4, "SeLockMemoryPrivilege"),
    privilege(5, "SeIncreaseQuotaPrivilege"),
    privilege(6, "SeMachineAccountPrivilege"),
    privilege(7, "SeTcbPrivilege"),
    privilege(8, "SeSecurityPrivilege"),
    privilege(9, "SeTakeOwnershipPrivilege"),
    privilege(10, "SeLoadDriverPrivilege"),
    privilege(11, "SeSystemProfilePrivilege"),
    privilege(12, "SeSystemtimePrivilege"),
    privilege(13, "SeProfileSingleProcessPrivilege"),
    privilege(14, "SeIncreaseBasePriorityPrivilege"),
    privilege(15, "SeCreatePagefilePrivilege"),
    privilege(16, "SeCreatePermanentPrivilege"),
    privilege(17, "SeBackupPrivilege"),
    privilege(18, "SeRestorePrivilege"),
    privilege(19, "SeShutdownPrivilege"),
    privilege(20, "SeDebugPrivilege"),
    privilege(21, "SeAuditPrivilege"),
    privilege(22, "SeSystemEnvironmentPrivilege"),
    privilege(23, "SeChangeNotifyPrivilege"),
    privilege(24, "SeRemoteShutdownPrivilege"),
    privilege(25, "SeUndockPrivilege"),
    privilege(26, "SeSyncAgentPrivilege"),
    privilege(27, "SeEnableDelegationPrivilege"),
    privilege(28, "SeManageVolumePrivilege"),
    privilege(29, "SeImpersonatePrivilege"),
    privilege(30, "SeCreateGlobalPrivilege"),
    privilege(31, "SeTrustedCredManAccessPrivilege"),
    privilege(32, "SeRelabelPrivilege"),
    privilege(33, "SeIncreaseWorkingSetPrivilege"),
    privilege(34, "SeTimeZonePrivilege"),
    privilege(35, "SeCreateSymbolicLinkPrivilege"),
    privilege(36, "SeDelegateSessionUserImpersonatePrivilege"),
    logon(0x001, "SeInteractiveLogonRight"),
    logon(0x002, "SeNetworkLogonRight"),
    logon(0x004, "SeBatchLogonRight"),
    logon(0x010, "SeServiceLogonRight"),
    logon(0x040, "SeDenyInteractiveLogonRight"),
    logon(0x080, "SeDenyNetworkLogonRight"),
    logon(0x100, "SeDenyBatchLogonRight"),
    logon(0x200, "SeDenyServiceLogonRight"),
    logon(0x400, "SeRemoteInteractiveLogonRight"),
    logon(0x800, "SeDenyRemoteInteractiveLogonRight"),
];
