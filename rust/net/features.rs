// SPDX-License-Identifier: GPL-2.0
//! Feature bits of a network device (`include/linux/netdev_features.h`).

use nic_bindings as raw;

macro_rules! features {
    ($($name:ident = $raw:ident, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: u64 = raw::$raw;)*
    };
}

features! {
    SG = RUST_CONST_HELPER_NETIF_F_SG, "Scatter-gather.";
    IP_CSUM = RUST_CONST_HELPER_NETIF_F_IP_CSUM, "TCP and UDP checksums over IPv4.";
    IPV6_CSUM = RUST_CONST_HELPER_NETIF_F_IPV6_CSUM, "TCP and UDP checksums over IPv6.";
    HW_CSUM = RUST_CONST_HELPER_NETIF_F_HW_CSUM, "Checksums of any protocol.";
    SCTP_CRC = RUST_CONST_HELPER_NETIF_F_SCTP_CRC, "SCTP CRC-32c.";
    RXCSUM = RUST_CONST_HELPER_NETIF_F_RXCSUM, "Verifies checksums on receive.";
    RXHASH = RUST_CONST_HELPER_NETIF_F_RXHASH, "Reports the RSS hash.";
    TSO = RUST_CONST_HELPER_NETIF_F_TSO, "TCP segmentation over IPv4.";
    TSO6 = RUST_CONST_HELPER_NETIF_F_TSO6, "TCP segmentation over IPv6.";
    TSO_MANGLEID = RUST_CONST_HELPER_NETIF_F_TSO_MANGLEID, "TSO may repeat the IPv4 identification.";
    GSO_PARTIAL = RUST_CONST_HELPER_NETIF_F_GSO_PARTIAL, "Segments once outer headers are prepared.";
    GSO_GRE = RUST_CONST_HELPER_NETIF_F_GSO_GRE, "GRE segmentation.";
    GSO_GRE_CSUM = RUST_CONST_HELPER_NETIF_F_GSO_GRE_CSUM, "GRE segmentation with checksum.";
    GSO_IPXIP4 = RUST_CONST_HELPER_NETIF_F_GSO_IPXIP4, "Segmentation of IP in IPv4.";
    GSO_IPXIP6 = RUST_CONST_HELPER_NETIF_F_GSO_IPXIP6, "Segmentation of IP in IPv6.";
    GSO_UDP_TUNNEL = RUST_CONST_HELPER_NETIF_F_GSO_UDP_TUNNEL, "Segmentation in UDP tunnels.";
    GSO_UDP_TUNNEL_CSUM = RUST_CONST_HELPER_NETIF_F_GSO_UDP_TUNNEL_CSUM, "The same with outer checksum.";
    GSO_UDP_L4 = RUST_CONST_HELPER_NETIF_F_GSO_UDP_L4, "UDP payload segmentation.";
    HW_VLAN_CTAG_TX = RUST_CONST_HELPER_NETIF_F_HW_VLAN_CTAG_TX, "Inserts VLAN tags.";
    HW_VLAN_CTAG_RX = RUST_CONST_HELPER_NETIF_F_HW_VLAN_CTAG_RX, "Strips VLAN tags.";
    HW_VLAN_CTAG_FILTER = RUST_CONST_HELPER_NETIF_F_HW_VLAN_CTAG_FILTER, "Filters by VLAN.";
    HIGHDMA = RUST_CONST_HELPER_NETIF_F_HIGHDMA, "DMA to high memory.";
    RXALL = RUST_CONST_HELPER_NETIF_F_RXALL, "Receives frames with errors too.";
    LRO = RUST_CONST_HELPER_NETIF_F_LRO, "Receive coalescing in hardware.";
    NTUPLE = RUST_CONST_HELPER_NETIF_F_NTUPLE, "Receive filters by flow.";
    GSO_MASK = RUST_CONST_HELPER_NETIF_F_GSO_MASK, "Every segmentation feature.";
}

/// XDP with PASS, DROP, TX and ABORTED (`NETDEV_XDP_ACT_BASIC`).
pub const XDP_BASIC: u32 = 1;
/// XDP redirect to other devices (`NETDEV_XDP_ACT_REDIRECT`).
pub const XDP_REDIRECT: u32 = 2;
