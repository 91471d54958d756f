/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C ABI of the software 82599, tools/testing/model/src/ffi.rs, which documents it.
 *
 * Functions are counted from 0 for the PF, 1 + v for VF v. All calls are made with the big QEMU lock held.
 */
#ifndef IXGBE_MODEL_H
#define IXGBE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct IxgbeModel IxgbeModel;

typedef struct IxgbeHostOps {
    bool (*dma_read)(void *opaque, uint32_t function, uint64_t address, uint8_t *buffer, size_t length);
    bool (*dma_write)(void *opaque, uint32_t function, uint64_t address, const uint8_t *data, size_t length);
    bool (*bus_master)(void *opaque, uint32_t function);
    void (*msix)(void *opaque, uint32_t function, uint32_t vector);
    void (*legacy)(void *opaque, bool level);
    bool (*transmit)(void *opaque, const uint8_t *frame, size_t length);
    void (*receive_ready)(void *opaque);
    uint64_t (*now)(void *opaque);
    void (*arm)(void *opaque, bool on, uint64_t deadline);
    void (*kick)(void *opaque);
} IxgbeHostOps;

typedef struct IxgbeOptions {
    const char *head_write;
    const char *quirks;
    const char *chip;
    const char *module;
    const char *partner;
    uint8_t port;
} IxgbeOptions;

IxgbeModel *ixgbe_model_new(const IxgbeHostOps *ops, void *opaque, const uint8_t (*mac)[6],
                            const IxgbeOptions *options);
void ixgbe_model_free(IxgbeModel *model);
uint32_t ixgbe_model_read(IxgbeModel *model, uint32_t function, uint32_t address);
void ixgbe_model_write(IxgbeModel *model, uint32_t function, uint32_t address, uint32_t value);
bool ixgbe_model_can_receive(IxgbeModel *model);
bool ixgbe_model_receive(IxgbeModel *model, const uint8_t *frame, size_t length);
void ixgbe_model_wire_ready(IxgbeModel *model);
void ixgbe_model_timer(IxgbeModel *model);
void ixgbe_model_work(IxgbeModel *model);
void ixgbe_model_set_link(IxgbeModel *model, bool up);
uint16_t ixgbe_model_device_id(IxgbeModel *model);
uint16_t ixgbe_model_vf_device_id(IxgbeModel *model);
void ixgbe_model_overheat(IxgbeModel *model);
bool ixgbe_model_set_module(IxgbeModel *model, const char *module);
bool ixgbe_model_set_partner(IxgbeModel *model, const char *speeds);
void ixgbe_model_bus_master_changed(IxgbeModel *model);
void ixgbe_model_set_vfs(IxgbeModel *model, uint32_t vfs);
void ixgbe_model_reset(IxgbeModel *model, uint32_t function);
char *ixgbe_model_counters(IxgbeModel *model);
void ixgbe_model_log_pages(IxgbeModel *model, bool on);
char *ixgbe_model_take_pages(IxgbeModel *model);
void ixgbe_model_free_string(char *text);

#endif
