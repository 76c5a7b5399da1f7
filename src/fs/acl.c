/* SPDX-License-Identifier: MIT */
/* Access control lists as values. */
#include "fs/acl.h"

#include <errno.h>
#include <sys/stat.h>
#include "base/endian.h"

#define VERSION      2u
#define HEADER_BYTES 4u
#define ENTRY_BYTES  8u
#define NO_ID        UINT32_MAX

#define ALL_BITS ((mode_t)0777)

/* ---- bytes ---- */

/* Where in the order of a list an entry stands; 0: no entry of a list. */
static unsigned place_of(unsigned tag)
{
	switch (tag) {
	case ACL_TAG_USER_OBJ:
		return 1;
	case ACL_TAG_USER:
		return 2;
	case ACL_TAG_GROUP_OBJ:
		return 3;
	case ACL_TAG_GROUP:
		return 4;
	case ACL_TAG_MASK:
		return 5;
	case ACL_TAG_OTHER:
		return 6;
	default:
		return 0;
	}
}

static bool is_named(unsigned tag)
{
	return tag == ACL_TAG_USER || tag == ACL_TAG_GROUP;
}

/* I1 */
static bool is_valid(const struct acl *acl)
{
	unsigned seen[7] = {0}, last = 0;
	for (unsigned i = 0; i < acl->count; i++) {
		const struct acl_entry *e = &acl->entries[i];
		unsigned place = place_of(e->tag);
		if (!place || place < last || (e->rights & ~7u))
			return false;
		if (is_named(e->tag) ? e->id == NO_ID : seen[place] > 0)
			return false;
		seen[place]++;
		last = place;
	}
	bool names = seen[place_of(ACL_TAG_USER)] || seen[place_of(ACL_TAG_GROUP)];
	return seen[place_of(ACL_TAG_USER_OBJ)] && seen[place_of(ACL_TAG_GROUP_OBJ)] &&
	       seen[place_of(ACL_TAG_OTHER)] && (!names || seen[place_of(ACL_TAG_MASK)]);
}

int acl_decode(const void *bytes, size_t size, struct acl *out)
{
	const uint8_t *at = bytes;
	out->count = 0;
	if (size < HEADER_BYTES || (size - HEADER_BYTES) % ENTRY_BYTES)
		return -EINVAL;
	if (get_le32(at) != VERSION)
		return -EOPNOTSUPP;
	size_t count = (size - HEADER_BYTES) / ENTRY_BYTES;
	if (count > ACL_MAX_ENTRIES)
		return -E2BIG;
	at += HEADER_BYTES;
	for (size_t i = 0; i < count; i++, at += ENTRY_BYTES) {
		struct acl_entry *e = &out->entries[i];
		*e = (struct acl_entry){get_le16(at), get_le16(at + 2), get_le32(at + 4)};
		if (!is_named(e->tag))
			e->id = NO_ID;
	}
	out->count = (unsigned)count;
	return count == 0 || is_valid(out) ? 0 : -EINVAL;
}

size_t acl_encode(const struct acl *acl, uint8_t out[ACL_MAX_BYTES])
{
	uint8_t *at = out;
	put_le32(at, VERSION);
	at += HEADER_BYTES;
	for (unsigned i = 0; i < acl->count; i++, at += ENTRY_BYTES) {
		put_le16(at, acl->entries[i].tag);
		put_le16(at + 2, acl->entries[i].rights);
		put_le32(at + 4, acl->entries[i].id);
	}
	return (size_t)(at - out);
}

/* ---- list and mode ---- */

static struct acl_entry *find(struct acl *acl, unsigned tag)
{
	for (unsigned i = 0; i < acl->count; i++)
		if (acl->entries[i].tag == tag)
			return &acl->entries[i];
	return NULL;
}

/* The entry that the mode's group bits are (I2). */
static struct acl_entry *group_class(struct acl *acl)
{
	struct acl_entry *mask = find(acl, ACL_TAG_MASK);
	return mask ? mask : find(acl, ACL_TAG_GROUP_OBJ);
}

mode_t acl_mode(const struct acl *acl, mode_t mode)
{
	mode_t bits = 0, group = 0;
	for (unsigned i = 0; i < acl->count; i++) {
		const struct acl_entry *e = &acl->entries[i];
		if (e->tag == ACL_TAG_USER_OBJ)
			bits |= (mode_t)e->rights << 6;
		else if (e->tag == ACL_TAG_OTHER)
			bits |= e->rights;
		else if (e->tag == ACL_TAG_GROUP_OBJ || e->tag == ACL_TAG_MASK)
			group = (mode_t)e->rights << 3; /* the mask comes later (I1) */
	}
	return (mode & ~ALL_BITS) | bits | group;
}

bool acl_is_mode(const struct acl *acl)
{
	return acl->count <= 3;
}

void acl_chmod(struct acl *acl, mode_t mode)
{
	find(acl, ACL_TAG_USER_OBJ)->rights = (mode >> 6) & 7;
	group_class(acl)->rights = (mode >> 3) & 7;
	find(acl, ACL_TAG_OTHER)->rights = mode & 7;
}

mode_t acl_inherit(struct acl *acl, mode_t mode)
{
	find(acl, ACL_TAG_USER_OBJ)->rights &= (mode >> 6) & 7;
	group_class(acl)->rights &= (mode >> 3) & 7;
	find(acl, ACL_TAG_OTHER)->rights &= mode & 7;
	return acl_mode(acl, mode);
}
