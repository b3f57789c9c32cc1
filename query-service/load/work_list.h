/* SPDX-License-Identifier: Apache-2.0 */
/* A list of what is worked on later, linked through the items themselves: queues of pools, who waits for a
 * load, who follows the feed. First in, first out. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Embedded as the first member in what is queued. */
struct work_item {
    struct work_item *next;
    int64_t deadline_us; /* monotonic; the submitter's */
    int64_t due_us;      /* parked in a pool: when it comes back, monotonic */
};

struct work_list {
    struct work_item *first, **last;
};

static inline void work_list_init(struct work_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static inline void work_list_add(struct work_list *list, struct work_item *item)
{
    item->next = NULL;
    *list->last = item;
    list->last = &item->next;
}

/* Takes out the one that `link` points to: &list->first, or the `next` of the one before. */
static inline struct work_item *work_list_take(struct work_list *list, struct work_item **link)
{
    struct work_item *item = *link;
    *link = item->next;
    if (list->last == &item->next)
        list->last = link;
    return item;
}

/* All of `from` goes to the end of `list`. */
static inline void work_list_append(struct work_list *list, struct work_list *from)
{
    if (!from->first)
        return;
    *list->last = from->first;
    list->last = from->last;
    work_list_init(from);
}
