// SPDX-License-Identifier: GPL-2.0
//! Modules: what their EEPROM says (SFF-8472), and what light or current they carry.
//!
//! Bytes of the two devices at 0xA0 and 0xA2, by their offsets in SFF-8472. Vendors and numbers are of modules as they are
//! sold, so that what reads them has the usual text to show; serial numbers and dates are made up.

use std::str::FromStr;

/// What is in the cage, as `module=` of the QEMU device names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// `none`: nothing.
    None,
    /// `sr`: Intel's optics for 10GBASE-SR and 1000BASE-SX.
    #[default]
    Sr,
    /// `lr`: Intel's optics for 10GBASE-LR and 1000BASE-LX.
    Lr,
    /// `da`: a passive copper cable.
    Da,
    /// `active`: an active copper cable with limiting amplifiers.
    Active,
    /// `1g-sx`: optics for 1000BASE-SX alone.
    Sx,
    /// `1g-t`: copper for 1000BASE-T.
    T,
    /// `third-party`: as `sr`, of another vendor.
    ThirdParty,
    /// `broken`: acknowledges its address and nothing else.
    Broken,
    /// `foreign`: a module that is no SFP (a GBIC by its identifier).
    Foreign,
}

const NAMES: [(&str, Kind); 10] = [
    ("none", Kind::None),
    ("sr", Kind::Sr),
    ("lr", Kind::Lr),
    ("da", Kind::Da),
    ("active", Kind::Active),
    ("1g-sx", Kind::Sx),
    ("1g-t", Kind::T),
    ("third-party", Kind::ThirdParty),
    ("broken", Kind::Broken),
    ("foreign", Kind::Foreign),
];

impl Kind {
    /// Every module, and the empty cage.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::Sr,
        Self::Lr,
        Self::Da,
        Self::Active,
        Self::Sx,
        Self::T,
        Self::ThirdParty,
        Self::Broken,
        Self::Foreign,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }

    /// What sends light, which the pin TX_DISABLE puts out.
    fn optical(self) -> bool {
        matches!(self, Self::Sr | Self::Lr | Self::Sx | Self::ThirdParty)
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        NAMES
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, kind)| *kind)
            .ok_or_else(|| format!("unknown module {text:?}"))
    }
}

/// Speeds of the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speeds {
    /// 100 Mb/s, of which only a copper PHY makes something.
    pub hundred: bool,
    /// 1 Gb/s.
    pub one: bool,
    /// 2.5 Gb/s, of which only the X550 makes something.
    pub two_and_a_half: bool,
    /// 5 Gb/s, likewise.
    pub five: bool,
    /// 10 Gb/s.
    pub ten: bool,
}

impl Speeds {
    /// Every one of them.
    pub const ALL: Self = Self {
        hundred: true,
        one: true,
        two_and_a_half: true,
        five: true,
        ten: true,
    };
}

impl FromStr for Speeds {
    type Err = String;

    /// `10g`, `5g`, `2.5g`, `1g`, `100m`, `both` (`10g` and `1g`) or `all`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut speeds = Self::default();
        match text {
            "10g" => speeds.ten = true,
            "5g" => speeds.five = true,
            "2.5g" => speeds.two_and_a_half = true,
            "1g" => speeds.one = true,
            "100m" => speeds.hundred = true,
            "both" => (speeds.one, speeds.ten) = (true, true),
            "all" => speeds = Self::ALL,
            _ => {
                return Err(format!(
                    "speeds are 10g, 5g, 2.5g, 1g, 100m, both or all, not {text:?}"
                ))
            }
        }
        Ok(speeds)
    }
}

/// Fields of A0 that differ, and texts.
struct Label {
    vendor: &'static str,
    oui: [u8; 3],
    part: &'static str,
    revision: &'static str,
    /// Offsets and values.
    bytes: &'static [(u8, u8)],
    diagnostics: bool,
}

/// `IXGBE_SFF_VENDOR_OUI_INTEL`
const INTEL: [u8; 3] = [0x00, 0x1B, 0x21];

/// Options of optics with TX_FAULT, TX_DISABLE, LOS, and rate select for two speeds; diagnostics, calibrated inside.
const SR: &[(u8, u8)] = &[
    (2, 7),
    (3, 0x10),
    (6, 0x01),
    (12, 0x67),
    (16, 8),
    (17, 3),
    (19, 30),
    (60, 0x03),
    (61, 0x52),
    (65, 0x3A),
];
const LR: &[(u8, u8)] = &[
    (2, 7),
    (3, 0x20),
    (6, 0x02),
    (12, 0x67),
    (14, 10),
    (15, 100),
    (60, 0x05),
    (61, 0x1E),
    (65, 0x3A),
];
const SX: &[(u8, u8)] = &[
    (2, 7),
    (6, 0x01),
    (12, 0x0D),
    (16, 55),
    (17, 27),
    (60, 0x03),
    (61, 0x52),
    (65, 0x1A),
];

fn label(kind: Kind) -> Option<Label> {
    let intel = |part, bytes| Label {
        vendor: "Intel Corp",
        oui: INTEL,
        part,
        revision: "A",
        bytes,
        diagnostics: true,
    };
    Some(match kind {
        Kind::None => return None,
        Kind::Sr => intel("FTLX8571D3BCV-IT", SR),
        Kind::Lr => intel("FTLX1471D3BCV-IT", LR),
        Kind::Da => Label {
            vendor: "Amphenol",
            oui: [0x78, 0xA7, 0x14],
            part: "571540003",
            revision: "C",
            bytes: &[(2, 0x21), (8, 0x04), (12, 0x67), (18, 3), (60, 0x01)],
            diagnostics: false,
        },
        Kind::Active => Label {
            vendor: "Molex Inc.",
            oui: [0x00, 0x09, 0x3A],
            part: "74752-9519",
            revision: "A0",
            bytes: &[
                (2, 0x21),
                (8, 0x08),
                (12, 0x67),
                (18, 5),
                (60, 0x04),
                (65, 0x12),
            ],
            diagnostics: false,
        },
        Kind::Sx => Label {
            vendor: "FINISAR CORP.",
            oui: [0x00, 0x90, 0x65],
            part: "FTLF8519P2BNL",
            revision: "A",
            bytes: SX,
            diagnostics: true,
        },
        Kind::T => Label {
            vendor: "FINISAR CORP.",
            oui: [0x00, 0x90, 0x65],
            part: "FCLF8521P2BTL",
            revision: "A",
            bytes: &[(2, 0x22), (6, 0x08), (12, 0x0D), (18, 100), (65, 0x12)],
            diagnostics: false,
        },
        Kind::ThirdParty | Kind::Broken => Label {
            vendor: "Example Optics",
            oui: [0x00, 0x00, 0x5E],
            part: "SFP-10G-SR",
            revision: "1",
            bytes: SR,
            diagnostics: true,
        },
        Kind::Foreign => Label {
            vendor: "Example Optics",
            oui: [0x00, 0x00, 0x5E],
            part: "GBIC-SX",
            revision: "1",
            bytes: &[(0, 0x01), (2, 1), (6, 0x01), (12, 0x0D)],
            diagnostics: false,
        },
    })
}

/// Both devices of a module.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    kind: Kind,
    a0: [u8; 256],
    a2: [u8; 256],
    /// Its pins and what it receives, which the diagnostics show.
    pub(crate) tx_disable: bool,
    pub(crate) light: bool,
}

/// Copies text into a field of spaces.
fn text(page: &mut [u8; 256], at: usize, length: usize, text: &str) {
    let padded = text.bytes().chain(std::iter::repeat(b' '));
    for (to, from) in page.iter_mut().skip(at).take(length).zip(padded) {
        *to = from;
    }
}

/// Puts a sum of bytes `from` to `to - 1` at `to`.
fn seal(page: &mut [u8; 256], from: usize, to: usize) {
    page[to] = page[from..to]
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
}

/// Thresholds of the diagnostics: temperature, supply, bias, sent and received power; high and low alarm, high and low
/// warning each.
const THRESHOLDS: [u16; 20] = [
    0x4E00, 0xF300, 0x4900, 0xF800, 36_300, 29_700, 35_000, 31_000, 5_800, 500, 5_300, 1_000,
    10_000, 1_585, 7_943, 1_995, 10_000, 636, 7_943, 1_000,
];

impl Module {
    /// A module as it comes from the shelf.
    pub(crate) fn new(kind: Kind) -> Self {
        let mut module = Self {
            kind,
            a0: [0xFF; 256],
            a2: [0xFF; 256],
            tx_disable: false,
            light: false,
        };
        if let Some(label) = label(kind) {
            module.write_a0(&label);
            if label.diagnostics {
                module.write_a2();
            }
        }
        module
    }

    /// What it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    fn write_a0(&mut self, label: &Label) {
        self.a0 = [0; 256];
        // Identifier SFP, with the two-wire interface alone; 64B/66B.
        self.a0[0] = 0x03;
        self.a0[1] = 0x04;
        self.a0[11] = 0x06;
        text(&mut self.a0, 20, 16, label.vendor);
        self.a0[37..40].copy_from_slice(&label.oui);
        text(&mut self.a0, 40, 16, label.part);
        text(&mut self.a0, 56, 4, label.revision);
        for (at, value) in label.bytes {
            self.a0[usize::from(*at)] = *value;
        }
        text(&mut self.a0, 68, 16, "MODEL0001");
        text(&mut self.a0, 84, 8, "260101");
        if label.diagnostics {
            // Implemented, calibrated inside, average power; alarms and soft control; SFF-8472 10.2.
            self.a0[92] = 0x68;
            self.a0[93] = 0xF0;
            self.a0[94] = 0x03;
        }
        seal(&mut self.a0, 0, 63);
        seal(&mut self.a0, 64, 95);
    }

    fn write_a2(&mut self) {
        self.a2 = [0; 256];
        for (pair, value) in self.a2.chunks_exact_mut(2).zip(THRESHOLDS) {
            pair.copy_from_slice(&value.to_be_bytes());
        }
        // Calibration: slopes 1.0, Rx_PWR(1) 1.0 as a float.
        self.a2[68..72].copy_from_slice(&0x3F80_0000u32.to_be_bytes());
        for at in [76, 80, 84, 88] {
            self.a2[at] = 1;
        }
        seal(&mut self.a2, 0, 95);
    }

    /// Whether it acknowledges nothing but its address.
    pub(crate) fn is_broken(&self) -> bool {
        self.kind == Kind::Broken
    }

    /// Which of its devices an address byte of the bus names.
    pub(crate) fn answers(&self, address: u8) -> Option<u8> {
        match (address & 0xFE, self.kind) {
            (_, Kind::None) => None,
            (0xA0, _) => Some(0),
            (0xA2, _) if self.diagnostics() => Some(1),
            _ => None,
        }
    }

    fn diagnostics(&self) -> bool {
        self.a0[92] & 0x40 != 0
    }

    /// A byte of a device.
    pub(crate) fn read(&self, device: u8, offset: u8) -> u8 {
        if device == 0 {
            return self.a0[usize::from(offset)];
        }
        // Real-time values: 36.5 degrees, 3.3 V, bias and power of a module that sends and receives.
        let sends = !self.tx_disable;
        let measured = [
            0x2480,
            33_000,
            if sends { 3_600 } else { 0 },
            if sends { 5_900 } else { 0 },
            if self.light { 5_100 } else { 0 },
        ];
        match offset {
            96..=105 => {
                let [high, low] = u16::to_be_bytes(measured[usize::from(offset - 96) / 2]);
                if offset % 2 == 0 {
                    high
                } else {
                    low
                }
            }
            // TX disable state, rate select as written, Rx loss.
            110 => {
                self.a2[110] & 0x48
                    | if self.tx_disable { 0x80 } else { 0 }
                    | if self.light { 0 } else { 0x02 }
            }
            _ => self.a2[usize::from(offset)],
        }
    }

    /// A byte for a device. A0 is protected.
    pub(crate) fn write(&mut self, device: u8, offset: u8, value: u8) {
        if device == 1 && (offset >= 128 || matches!(offset, 110 | 118)) {
            self.a2[usize::from(offset)] = value;
        }
    }

    /// Speeds that it carries with the rate select pin high (`fast`) or low.
    pub(crate) fn speeds(&self, fast: bool) -> Speeds {
        let (one, ten) = match self.kind {
            Kind::None | Kind::Broken | Kind::Foreign => (false, false),
            Kind::Sr | Kind::Lr | Kind::ThirdParty => (!fast, fast),
            // Nothing in a cable cares.
            Kind::Da | Kind::Active => (true, true),
            Kind::Sx | Kind::T => (true, false),
        };
        Speeds {
            one,
            ten,
            ..Speeds::default()
        }
    }

    /// Whether anything reaches the other end, with the pin TX_DISABLE high (`dark`) or low.
    pub(crate) fn sends(&self, dark: bool) -> bool {
        self.kind != Kind::None && !(self.kind.optical() && dark)
    }

    /// Whether the core must be set up for a passive cable.
    pub(crate) fn linear(&self) -> bool {
        self.kind == Kind::Da
    }
}
