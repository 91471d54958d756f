/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Intel 82599 with SR-IOV: the PCI side. What the device does is in the Rust library behind ixgbe_model.h.
 *
 * Configuration space is laid out as the C driver expects it (IXGBE_PCI_DEVICE_STATUS 0xAA, IXGBE_PCI_LINK_STATUS 0xB2,
 * IXGBE_PCIE_MSIX_82599_CAPS 0x72) and as lspci shows it of an 82599: PM at 0x40, MSI at 0x50, MSI-X at 0x70, PCIe at
 * 0xA0, AER at 0x100, serial number at 0x140, ARI at 0x150, SR-IOV at 0x160. VFs stand at offset 0x80, stride 2.
 *
 * Each VF is a PCI device of its own, so DMA in its name passes the IOMMU with its own requester id.
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/range.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/pci/msi.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_sriov.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "net/net.h"
#include "qom/object.h"

#include "ixgbe_model.h"

#define TYPE_IXGBE "ixgbe"
OBJECT_DECLARE_SIMPLE_TYPE(IxgbeState, IXGBE)
#define TYPE_IXGBEVF "ixgbevf"
OBJECT_DECLARE_SIMPLE_TYPE(IxgbeVfState, IXGBEVF)

#define IXGBE_DEV_ID 0x10F7 /* 82599 KX4; another chip has another one */
#define IXGBE_VF_DEV_ID 0x10ED
#define IXGBE_REVISION 1

#define IXGBE_VFS 63
#define IXGBE_VF_OFFSET 0x80
#define IXGBE_VF_STRIDE 2

#define IXGBE_PM_CAP 0x40
#define IXGBE_MSI_CAP 0x50
#define IXGBE_MSIX_CAP 0x70
#define IXGBE_PCIE_CAP 0xA0
#define IXGBE_AER_CAP 0x100
#define IXGBE_SERIAL_CAP 0x140
#define IXGBE_ARI_CAP 0x150
#define IXGBE_SRIOV_CAP 0x160

#define IXGBE_MMIO_BAR 0
#define IXGBE_MMIO_SIZE (512 * KiB)
#define IXGBE_REGS_SIZE (128 * KiB)
#define IXGBE_IO_BAR 2
#define IXGBE_IO_SIZE 32
#define IXGBE_MSIX_BAR 4
#define IXGBE_MSIX_SIZE (16 * KiB)
#define IXGBE_MSIX_PBA 0x2000
#define IXGBE_MSIX_VECTORS 64

#define IXGBEVF_MMIO_BAR 0
#define IXGBEVF_MSIX_BAR 3
#define IXGBEVF_BAR_SIZE (16 * KiB)
#define IXGBEVF_MSIX_VECTORS 3

/* I/O BAR: an address window and a data window. */
#define IXGBE_IOADDR 0x0
#define IXGBE_IODATA 0x4

struct IxgbeState {
    PCIDevice parent_obj;

    NICState *nic;
    NICConf conf;
    char *head_write;
    char *quirks;
    char *chip;
    char *module;
    char *partner;
    uint8_t port;
    char *dma_log;
    bool has_msix;
    bool has_msi;

    MemoryRegion mmio;
    MemoryRegion io;
    MemoryRegion msix;
    uint32_t io_address;

    IxgbeModel *model;
    QEMUTimer *timer;
    QEMUBH *work;
    QEMUBH *flush;
    QEMUTimer *log_timer;
    FILE *log_file;
    uint16_t vfs;
};

struct IxgbeVfState {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    MemoryRegion msix;
};

/* The PCI device of a function, NULL while it does not exist. */
static PCIDevice *ixgbe_function(IxgbeState *s, uint32_t function)
{
    PCIDevice *pf = PCI_DEVICE(s);

    return function ? pcie_sriov_get_vf_at_index(pf, function - 1) : pf;
}

static bool ixgbe_dma_read(void *opaque, uint32_t function, uint64_t address, uint8_t *buffer, size_t length)
{
    PCIDevice *dev = ixgbe_function(opaque, function);

    if (!dev) {
        return false;
    }
    if (pci_dma_read(dev, address, buffer, length) != MEMTX_OK) {
        /*
         * Nobody has this address, or the IOMMU does not let the function have it: the read completes with Unsupported
         * Request, of which a requester takes note here (PCIe 6.0, 7.5.1.1.4; 82599 datasheet, 9.3.4). By this the PF
         * driver tells a VF that does bad DMA. A write is posted, and nobody answers.
         */
        pci_word_test_and_set_mask(dev->config + PCI_STATUS, PCI_STATUS_REC_MASTER_ABORT);
        return false;
    }
    return true;
}

static bool ixgbe_dma_write(void *opaque, uint32_t function, uint64_t address, const uint8_t *data, size_t length)
{
    PCIDevice *dev = ixgbe_function(opaque, function);

    return dev && pci_dma_write(dev, address, data, length) == MEMTX_OK;
}

static bool ixgbe_bus_master(void *opaque, uint32_t function)
{
    PCIDevice *dev = ixgbe_function(opaque, function);

    if (!dev || !(pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER)) {
        return false;
    }
    /* Only the PF has power management; in D3 it masters nothing. */
    return function || !(pci_get_word(dev->config + IXGBE_PM_CAP + PCI_PM_CTRL) & PCI_PM_CTRL_STATE_MASK);
}

static void ixgbe_msix(void *opaque, uint32_t function, uint32_t vector)
{
    PCIDevice *dev = ixgbe_function(opaque, function);

    if (dev && msix_enabled(dev)) {
        msix_notify(dev, vector);
    }
}

static void ixgbe_legacy(void *opaque, bool level)
{
    PCIDevice *dev = PCI_DEVICE(opaque);

    if (msix_enabled(dev)) {
        /* The driver left GPIE in another mode than the bus: vector 0 is all there is. */
        if (level) {
            msix_notify(dev, 0);
        }
    } else if (msi_enabled(dev)) {
        if (level) {
            msi_notify(dev, 0);
        }
    } else {
        pci_set_irq(dev, level);
    }
}

static void ixgbe_sent(NetClientState *nc, ssize_t length)
{
    IxgbeState *s = qemu_get_nic_opaque(nc);

    ixgbe_model_wire_ready(s->model);
}

static bool ixgbe_transmit(void *opaque, const uint8_t *frame, size_t length)
{
    IxgbeState *s = opaque;

    return qemu_send_packet_async(qemu_get_queue(s->nic), frame, length, ixgbe_sent) != 0;
}

static void ixgbe_receive_ready(void *opaque)
{
    IxgbeState *s = opaque;

    if (s->flush) {
        qemu_bh_schedule(s->flush);
    }
}

static uint64_t ixgbe_now(void *opaque)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

static void ixgbe_arm(void *opaque, bool on, uint64_t deadline)
{
    IxgbeState *s = opaque;

    if (on) {
        timer_mod_ns(s->timer, deadline);
    } else {
        timer_del(s->timer);
    }
}

static void ixgbe_kick(void *opaque)
{
    IxgbeState *s = opaque;

    qemu_bh_schedule(s->work);
}

static const IxgbeHostOps ixgbe_host_ops = {
    .dma_read = ixgbe_dma_read,
    .dma_write = ixgbe_dma_write,
    .bus_master = ixgbe_bus_master,
    .msix = ixgbe_msix,
    .legacy = ixgbe_legacy,
    .transmit = ixgbe_transmit,
    .receive_ready = ixgbe_receive_ready,
    .now = ixgbe_now,
    .arm = ixgbe_arm,
    .kick = ixgbe_kick,
};

static void ixgbe_timer(void *opaque)
{
    IxgbeState *s = opaque;

    ixgbe_model_timer(s->model);
}

static void ixgbe_work(void *opaque)
{
    IxgbeState *s = opaque;

    ixgbe_model_work(s->model);
}

static void ixgbe_flush(void *opaque)
{
    IxgbeState *s = opaque;

    qemu_flush_queued_packets(qemu_get_queue(s->nic));
}

/* Memory BARs. */

static uint64_t ixgbe_mmio_read(void *opaque, hwaddr addr, unsigned size)
{
    IxgbeState *s = opaque;

    return addr < IXGBE_REGS_SIZE ? ixgbe_model_read(s->model, 0, addr) : 0;
}

static void ixgbe_mmio_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    IxgbeState *s = opaque;

    if (addr < IXGBE_REGS_SIZE) {
        ixgbe_model_write(s->model, 0, addr, value);
    }
}

static const MemoryRegionOps ixgbe_mmio_ops = {
    .read = ixgbe_mmio_read,
    .write = ixgbe_mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 8 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

static uint64_t ixgbe_io_read(void *opaque, hwaddr addr, unsigned size)
{
    IxgbeState *s = opaque;

    switch (addr) {
    case IXGBE_IOADDR:
        return s->io_address;
    case IXGBE_IODATA:
        return ixgbe_mmio_read(s, s->io_address, size);
    default:
        return 0;
    }
}

static void ixgbe_io_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    IxgbeState *s = opaque;

    switch (addr) {
    case IXGBE_IOADDR:
        s->io_address = value;
        break;
    case IXGBE_IODATA:
        ixgbe_mmio_write(s, s->io_address, value, size);
        break;
    }
}

static const MemoryRegionOps ixgbe_io_ops = {
    .read = ixgbe_io_read,
    .write = ixgbe_io_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

static uint64_t ixgbevf_mmio_read(void *opaque, hwaddr addr, unsigned size)
{
    PCIDevice *vf = opaque;
    IxgbeState *s = IXGBE(pcie_sriov_get_pf(vf));

    return ixgbe_model_read(s->model, 1 + pcie_sriov_vf_number(vf), addr);
}

static void ixgbevf_mmio_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PCIDevice *vf = opaque;
    IxgbeState *s = IXGBE(pcie_sriov_get_pf(vf));

    ixgbe_model_write(s->model, 1 + pcie_sriov_vf_number(vf), addr, value);
}

static const MemoryRegionOps ixgbevf_mmio_ops = {
    .read = ixgbevf_mmio_read,
    .write = ixgbevf_mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 8 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

/* The cable. */

static bool ixgbe_can_receive(NetClientState *nc)
{
    IxgbeState *s = qemu_get_nic_opaque(nc);

    return ixgbe_model_can_receive(s->model);
}

static ssize_t ixgbe_receive(NetClientState *nc, const uint8_t *frame, size_t length)
{
    IxgbeState *s = qemu_get_nic_opaque(nc);

    if (!ixgbe_model_receive(s->model, frame, length)) {
        /* A backend answered before its caller in the model returned: once more from the main loop. */
        qemu_bh_schedule(s->flush);
        return 0;
    }
    return length;
}

static void ixgbe_link_status_changed(NetClientState *nc)
{
    IxgbeState *s = qemu_get_nic_opaque(nc);

    ixgbe_model_set_link(s->model, !nc->link_down);
}

static NetClientInfo ixgbe_net_info = {
    .type = NET_CLIENT_DRIVER_NIC,
    .size = sizeof(NICState),
    .can_receive = ixgbe_can_receive,
    .receive = ixgbe_receive,
    .link_status_changed = ixgbe_link_status_changed,
};

/* For tests: which pages the device wrote, in slices of 10 ms: "@TIME_NS", then the lines of the model. */

#define IXGBE_LOG_SLICE_NS (10 * SCALE_MS)

static void ixgbe_log_slice(IxgbeState *s)
{
    char *pages = ixgbe_model_take_pages(s->model);

    if (*pages) {
        fprintf(s->log_file, "@%" PRId64 "\n%s", qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL), pages);
        fflush(s->log_file);
    }
    ixgbe_model_free_string(pages);
}

static void ixgbe_log_timer(void *opaque)
{
    IxgbeState *s = opaque;

    ixgbe_log_slice(s);
    timer_mod_ns(s->log_timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + IXGBE_LOG_SLICE_NS);
}

static char *ixgbe_get_counters(Object *obj, Error **errp)
{
    IxgbeState *s = IXGBE(obj);
    char *json, *copy;

    if (!s->model) {
        return g_strdup("{}");
    }
    json = ixgbe_model_counters(s->model);
    copy = g_strdup(json);
    ixgbe_model_free_string(json);
    return copy;
}

/* The cage: what is in it and at the other end of the cable can change at any time. */

static char *ixgbe_get_module(Object *obj, Error **errp)
{
    return g_strdup(IXGBE(obj)->module ?: "sr");
}

static void ixgbe_set_module(Object *obj, const char *value, Error **errp)
{
    IxgbeState *s = IXGBE(obj);

    if (s->model && !ixgbe_model_set_module(s->model, value)) {
        error_setg(errp, "ixgbe: no module %s, or no cage for it", value);
        return;
    }
    g_free(s->module);
    s->module = g_strdup(value);
}

static char *ixgbe_get_partner(Object *obj, Error **errp)
{
    return g_strdup(IXGBE(obj)->partner ?: "both");
}

static void ixgbe_set_partner(Object *obj, const char *value, Error **errp)
{
    IxgbeState *s = IXGBE(obj);

    if (s->model && !ixgbe_model_set_partner(s->model, value)) {
        error_setg(errp, "ixgbe: no speeds %s of a partner, or none that matter", value);
        return;
    }
    g_free(s->partner);
    s->partner = g_strdup(value);
}

/* The chip is too hot: writing true says so once. */
static void ixgbe_set_overheat(Object *obj, bool value, Error **errp)
{
    IxgbeState *s = IXGBE(obj);

    if (s->model && value) {
        ixgbe_model_overheat(s->model);
    }
}

/* PCI. */

static void ixgbe_write_config(PCIDevice *dev, uint32_t addr, uint32_t val, int len)
{
    IxgbeState *s = IXGBE(dev);
    uint16_t vfs;

    pci_default_write_config(dev, addr, val, len);
    pcie_cap_flr_write_config(dev, addr, val, len);
    vfs = pcie_sriov_num_vfs(dev);
    if (vfs != s->vfs) {
        s->vfs = vfs;
        ixgbe_model_set_vfs(s->model, vfs);
    }
    if ((range_covers_byte(addr, len, PCI_COMMAND) || range_covers_byte(addr, len, IXGBE_PM_CAP + PCI_PM_CTRL)) &&
        ixgbe_bus_master(s, 0)) {
        ixgbe_model_bus_master_changed(s->model);
    }
}

static void ixgbevf_write_config(PCIDevice *dev, uint32_t addr, uint32_t val, int len)
{
    IxgbeState *s = IXGBE(pcie_sriov_get_pf(dev));

    pci_default_write_config(dev, addr, val, len);
    pcie_cap_flr_write_config(dev, addr, val, len);
    if (range_covers_byte(addr, len, PCI_COMMAND) && (dev->config[PCI_COMMAND] & PCI_COMMAND_MASTER)) {
        ixgbe_model_bus_master_changed(s->model);
    }
}

static bool ixgbe_add_pm(PCIDevice *dev, Error **errp)
{
    if (pci_pm_init(dev, IXGBE_PM_CAP, errp) < 0) {
        return false;
    }
    pci_set_word(dev->config + IXGBE_PM_CAP + PCI_PM_PMC, PCI_PM_CAP_VER_1_1 | PCI_PM_CAP_DSI);
    pci_set_word(dev->wmask + IXGBE_PM_CAP + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK | PCI_PM_CTRL_PME_ENABLE);
    pci_set_word(dev->w1cmask + IXGBE_PM_CAP + PCI_PM_CTRL, PCI_PM_CTRL_PME_STATUS);
    return true;
}

/* 8 lanes of 5 GT/s, as an 82599 in a slot that fits it. */
static bool ixgbe_add_pcie(PCIDevice *dev, Error **errp)
{
    if (pcie_endpoint_cap_init(dev, IXGBE_PCIE_CAP) < 0) {
        error_setg(errp, "ixgbe: no PCI Express capability: put the device behind a pcie-root-port");
        return false;
    }
    pcie_cap_fill_link_ep_usp(dev, QEMU_PCI_EXP_LNK_X8, QEMU_PCI_EXP_LNK_5GT);
    pcie_cap_flr_init(dev);
    return true;
}

static bool ixgbe_add_msix(PCIDevice *dev, MemoryRegion *bar, unsigned bar_nr, unsigned vectors, Error **errp)
{
    if (msix_init(dev, vectors, bar, bar_nr, 0, bar, bar_nr, IXGBE_MSIX_PBA, IXGBE_MSIX_CAP, errp)) {
        return false;
    }
    for (unsigned i = 0; i < vectors; i++) {
        msix_vector_use(dev, i);
    }
    return true;
}

static bool ixgbe_open_log(IxgbeState *s, Error **errp)
{
    if (!s->dma_log) {
        return true;
    }
    s->log_file = fopen(s->dma_log, "w");
    if (!s->log_file) {
        error_setg_errno(errp, errno, "ixgbe: cannot write dma-log %s", s->dma_log);
        return false;
    }
    ixgbe_model_log_pages(s->model, true);
    s->log_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, ixgbe_log_timer, s);
    ixgbe_log_timer(s);
    return true;
}

static void ixgbe_realize(PCIDevice *dev, Error **errp)
{
    IxgbeState *s = IXGBE(dev);
    uint64_t serial;
    const uint8_t *mac;
    IxgbeOptions options;

    qemu_macaddr_default_if_unset(&s->conf.macaddr);
    mac = s->conf.macaddr.a;
    options = (IxgbeOptions) {
        .head_write = s->head_write ?: "value",
        .quirks = s->quirks ?: "",
        .chip = s->chip ?: "kx4",
        .module = s->module ?: "sr",
        .partner = s->partner ?: "both",
        .port = s->port,
    };
    s->model = ixgbe_model_new(&ixgbe_host_ops, s, (const uint8_t (*)[6])mac, &options);
    if (!s->model) {
        error_setg(errp, "ixgbe: one of these is unknown: head-write=%s,quirks=%s,chip=%s,module=%s,partner=%s",
                   options.head_write, options.quirks, options.chip, options.module, options.partner);
        return;
    }
    pci_config_set_device_id(dev->config, ixgbe_model_device_id(s->model));
    s->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, ixgbe_timer, s);
    s->work = qemu_bh_new_guarded(ixgbe_work, s, &DEVICE(s)->mem_reentrancy_guard);
    s->flush = qemu_bh_new(ixgbe_flush, s);

    dev->config_write = ixgbe_write_config;
    dev->config[PCI_CACHE_LINE_SIZE] = 0x10;
    dev->config[PCI_INTERRUPT_PIN] = 1;

    memory_region_init_io(&s->mmio, OBJECT(s), &ixgbe_mmio_ops, s, "ixgbe-mmio", IXGBE_MMIO_SIZE);
    pci_register_bar(dev, IXGBE_MMIO_BAR, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH, &s->mmio);
    memory_region_init_io(&s->io, OBJECT(s), &ixgbe_io_ops, s, "ixgbe-io", IXGBE_IO_SIZE);
    pci_register_bar(dev, IXGBE_IO_BAR, PCI_BASE_ADDRESS_SPACE_IO, &s->io);
    memory_region_init(&s->msix, OBJECT(s), "ixgbe-msix", IXGBE_MSIX_SIZE);
    pci_register_bar(dev, IXGBE_MSIX_BAR, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH, &s->msix);

    /* The list of capabilities is made from its end. */
    if (!ixgbe_add_pcie(dev, errp) ||
        (s->has_msix && !ixgbe_add_msix(dev, &s->msix, IXGBE_MSIX_BAR, IXGBE_MSIX_VECTORS, errp)) ||
        (s->has_msi && msi_init(dev, IXGBE_MSI_CAP, 1, true, true, errp)) || !ixgbe_add_pm(dev, errp) ||
        pcie_aer_init(dev, 1, IXGBE_AER_CAP, PCI_ERR_SIZEOF, errp) < 0) {
        return;
    }
    serial = (uint64_t)mac[0] << 56 | (uint64_t)mac[1] << 48 | (uint64_t)mac[2] << 40 | 0xFFFFull << 24 |
             mac[3] << 16 | mac[4] << 8 | mac[5];
    pcie_dev_ser_num_init(dev, IXGBE_SERIAL_CAP, serial);
    pcie_ari_init(dev, IXGBE_ARI_CAP);
    if (!pcie_sriov_pf_init(dev, IXGBE_SRIOV_CAP, TYPE_IXGBEVF, ixgbe_model_vf_device_id(s->model),
                            IXGBE_VFS, IXGBE_VFS, IXGBE_VF_OFFSET, IXGBE_VF_STRIDE, errp)) {
        return;
    }
    pcie_sriov_pf_init_vf_bar(dev, IXGBEVF_MMIO_BAR, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
                              IXGBEVF_BAR_SIZE);
    pcie_sriov_pf_init_vf_bar(dev, IXGBEVF_MSIX_BAR, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
                              IXGBEVF_BAR_SIZE);

    s->nic = qemu_new_nic(&ixgbe_net_info, &s->conf, object_get_typename(OBJECT(s)), DEVICE(s)->id,
                          &DEVICE(s)->mem_reentrancy_guard, s);
    qemu_format_nic_info_str(qemu_get_queue(s->nic), s->conf.macaddr.a);
    ixgbe_open_log(s, errp);
}

static void ixgbe_exit(PCIDevice *dev)
{
    IxgbeState *s = IXGBE(dev);

    if (s->log_file) {
        ixgbe_log_slice(s);
        timer_free(s->log_timer);
        fclose(s->log_file);
    }
    pcie_sriov_pf_exit(dev);
    qemu_del_nic(s->nic);
    pcie_aer_exit(dev);
    pcie_cap_exit(dev);
    msi_uninit(dev);
    if (s->has_msix) {
        msix_unuse_all_vectors(dev);
        msix_uninit(dev, &s->msix, &s->msix);
    }
    qemu_bh_delete(s->work);
    qemu_bh_delete(s->flush);
    timer_free(s->timer);
    ixgbe_model_free(s->model);
    s->model = NULL;
}

static void ixgbe_finalize(Object *obj)
{
    IxgbeState *s = IXGBE(obj);

    g_free(s->module);
    g_free(s->partner);
}

static void ixgbe_reset_hold(Object *obj, ResetType type)
{
    IxgbeState *s = IXGBE(obj);

    if (s->model) {
        s->vfs = 0;
        ixgbe_model_set_vfs(s->model, 0);
        ixgbe_model_reset(s->model, 0);
    }
}

static void ixgbevf_realize(PCIDevice *dev, Error **errp)
{
    IxgbeVfState *s = IXGBEVF(dev);

    dev->config_write = ixgbevf_write_config;
    memory_region_init_io(&s->mmio, OBJECT(dev), &ixgbevf_mmio_ops, s, "ixgbevf-mmio", IXGBEVF_BAR_SIZE);
    pci_register_bar(dev, IXGBEVF_MMIO_BAR, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH, &s->mmio);
    memory_region_init(&s->msix, OBJECT(dev), "ixgbevf-msix", IXGBEVF_BAR_SIZE);
    pci_register_bar(dev, IXGBEVF_MSIX_BAR, PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH, &s->msix);
    if (!ixgbe_add_pcie(dev, errp) ||
        !ixgbe_add_msix(dev, &s->msix, IXGBEVF_MSIX_BAR, IXGBEVF_MSIX_VECTORS, errp) ||
        pcie_aer_init(dev, 1, IXGBE_AER_CAP, PCI_ERR_SIZEOF, errp) < 0) {
        return;
    }
    pcie_ari_init(dev, IXGBE_ARI_CAP);
}

static void ixgbevf_exit(PCIDevice *dev)
{
    IxgbeVfState *s = IXGBEVF(dev);

    pcie_aer_exit(dev);
    pcie_cap_exit(dev);
    msix_unuse_all_vectors(dev);
    msix_uninit(dev, &s->msix, &s->msix);
}

static void ixgbevf_reset_hold(Object *obj, ResetType type)
{
    PCIDevice *vf = PCI_DEVICE(obj);
    IxgbeState *s = IXGBE(pcie_sriov_get_pf(vf));

    if (s->model) {
        ixgbe_model_reset(s->model, 1 + pcie_sriov_vf_number(vf));
    }
}

/* What the model holds is not described to QEMU: migration and snapshots of such a machine are refused. */
static const VMStateDescription ixgbe_vmstate = {
    .name = TYPE_IXGBE,
    .unmigratable = 1,
};

static const Property ixgbe_properties[] = {
    DEFINE_NIC_PROPERTIES(IxgbeState, conf),
    DEFINE_PROP_STRING("head-write", IxgbeState, head_write),
    DEFINE_PROP_STRING("quirks", IxgbeState, quirks),
    DEFINE_PROP_STRING("chip", IxgbeState, chip),
    DEFINE_PROP_UINT8("port", IxgbeState, port, 0),
    DEFINE_PROP_STRING("dma-log", IxgbeState, dma_log),
    DEFINE_PROP_BOOL("msix", IxgbeState, has_msix, true),
    DEFINE_PROP_BOOL("msi", IxgbeState, has_msi, true),
};

static void ixgbe_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *c = PCI_DEVICE_CLASS(class);

    c->realize = ixgbe_realize;
    c->exit = ixgbe_exit;
    c->vendor_id = PCI_VENDOR_ID_INTEL;
    c->device_id = IXGBE_DEV_ID;
    c->subsystem_vendor_id = PCI_VENDOR_ID_INTEL;
    c->subsystem_id = 0x000C;
    c->revision = IXGBE_REVISION;
    c->class_id = PCI_CLASS_NETWORK_ETHERNET;
    RESETTABLE_CLASS(class)->phases.hold = ixgbe_reset_hold;
    dc->desc = "Intel 82599 10 Gigabit Ethernet Controller";
    dc->vmsd = &ixgbe_vmstate;
    device_class_set_props(dc, ixgbe_properties);
    object_class_property_add_str(class, "module", ixgbe_get_module, ixgbe_set_module);
    object_class_property_set_description(class, "module", "what is in the cage, changed while the machine runs too");
    object_class_property_add_str(class, "partner", ixgbe_get_partner, ixgbe_set_partner);
    object_class_property_set_description(class, "partner", "speeds of the link partner: 10g, 1g, 100m, both (the first two) or all");
    object_class_property_add_bool(class, "overheat", NULL, ixgbe_set_overheat);
    object_class_property_set_description(class, "overheat", "the thermal sensor tells of its event");
    object_class_property_add_str(class, "counters", ixgbe_get_counters, NULL);
    object_class_property_set_description(class, "counters", "accesses and errors of each function, as JSON");
    set_bit(DEVICE_CATEGORY_NETWORK, dc->categories);
}

static void ixgbevf_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *c = PCI_DEVICE_CLASS(class);

    c->realize = ixgbevf_realize;
    c->exit = ixgbevf_exit;
    c->vendor_id = PCI_VENDOR_ID_INTEL;
    c->device_id = IXGBE_VF_DEV_ID;
    c->subsystem_vendor_id = PCI_VENDOR_ID_INTEL;
    c->subsystem_id = 0x000C;
    c->revision = IXGBE_REVISION;
    c->class_id = PCI_CLASS_NETWORK_ETHERNET;
    RESETTABLE_CLASS(class)->phases.hold = ixgbevf_reset_hold;
    dc->desc = "Intel 82599 Virtual Function";
    dc->user_creatable = false;
    set_bit(DEVICE_CATEGORY_NETWORK, dc->categories);
}

static const TypeInfo ixgbe_types[] = {
    {
        .name = TYPE_IXGBE,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(IxgbeState),
        .instance_finalize = ixgbe_finalize,
        .class_init = ixgbe_class_init,
        .interfaces = (InterfaceInfo[]) { { INTERFACE_PCIE_DEVICE }, {} },
    },
    {
        .name = TYPE_IXGBEVF,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(IxgbeVfState),
        .class_init = ixgbevf_class_init,
        .interfaces = (InterfaceInfo[]) { { INTERFACE_PCIE_DEVICE }, {} },
    },
};

DEFINE_TYPES(ixgbe_types)
