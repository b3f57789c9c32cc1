# What is installed where, and the packages made of it. Everything can be overridden: a distribution has its own places.
PREFIX     ?= /usr/local
DESTDIR    ?=
BINDIR     ?= $(PREFIX)/bin
DATADIR    ?= $(PREFIX)/share
MANDIR     ?= $(DATADIR)/man
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d

UNITS     := command query projector
MAN_PAGES := $(SERVICE_NAMES:%=$(B)/man/%.8)

# Of each unit: its program, its arguments, what it is, the credentials it gets as NAME:VARIABLE.
unit_program_command := command-service
unit_what_command    := the write API
unit_secrets_command := code.key:FIRSTCOME_CODE_KEY_FILE command.database-url:DATABASE_URL_FILE
unit_program_query   := query-service
unit_what_query      := the read API
unit_secrets_query   := code.key:FIRSTCOME_CODE_KEY_FILE query.database-url:DATABASE_URL_FILE query.redis-url:REDIS_URL_FILE
unit_program_projector   := projector
unit_arguments_projector := run
unit_what_projector      := from the log to the read models
unit_secrets_projector   := projector.database-url:DATABASE_URL_FILE projector.redis-url:REDIS_URL_FILE

credential_name = $(firstword $(subst :, ,$1))
credential_variable = $(lastword $(subst :, ,$1))
credential_lines = LoadCredential=$(call credential_name,$1):$(SYSCONFDIR)/firstcome/credentials/$(call credential_name,$1)\nEnvironment=$(call credential_variable,$1)=%d/$(call credential_name,$1)\n

.PHONY: man install deb containers containers-down $(UNITS:%=install-unit-%)

man: $(MAN_PAGES)
$(B)/man/%.8: $(B)/bin/% tools/man-page VERSION CHANGELOG.md
	@mkdir -p $(@D)
	@tools/man-page $< >$@

install: services man $(UNITS:%=install-unit-%) ## install the built services: PREFIX= DESTDIR=
	install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(MANDIR)/man8' '$(DESTDIR)$(DATADIR)/firstcome/schema' \
		'$(DESTDIR)$(DATADIR)/firstcome/monitoring' '$(DESTDIR)$(SYSUSERSDIR)' '$(DESTDIR)$(TMPFILESDIR)' '$(DESTDIR)$(SYSCONFDIR)/logrotate.d'
	install -m 755 $(SERVICE_BINS) '$(DESTDIR)$(BINDIR)'
	install -m 644 $(MAN_PAGES) '$(DESTDIR)$(MANDIR)/man8'
	install -m 644 schema/*.sql '$(DESTDIR)$(DATADIR)/firstcome/schema'
	install -m 755 schema/migrate '$(DESTDIR)$(DATADIR)/firstcome/schema'
	install -m 755 packaging/make-secrets packaging/rotate-token packaging/rotate-code-key '$(DESTDIR)$(DATADIR)/firstcome'
	install -m 644 packaging/redis.acl packaging/pgbackrest.conf packaging/patroni.yml '$(DESTDIR)$(DATADIR)/firstcome'
	install -m 644 compose/monitoring/rendered/rules.yaml compose/monitoring/rendered/dashboards/*.json '$(DESTDIR)$(DATADIR)/firstcome/monitoring'
	install -m 644 packaging/systemd/firstcome.sysusers '$(DESTDIR)$(SYSUSERSDIR)/firstcome.conf'
	sed 's|/etc/|$(SYSCONFDIR)/|' packaging/systemd/firstcome.tmpfiles >'$(DESTDIR)$(TMPFILESDIR)/firstcome.conf'
	install -m 644 packaging/etc/logrotate '$(DESTDIR)$(SYSCONFDIR)/logrotate.d/firstcome'

# A configuration that is there already stays as it is.
$(UNITS:%=install-unit-%): install-unit-%:
	install -d '$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(SYSCONFDIR)/firstcome'
	printf '$(foreach s,$(unit_secrets_$*),$(subst %,%%,$(call credential_lines,$s)))' | sed 's/^ //' | \
		sed -e '/^@CREDENTIALS@$$/{r /dev/stdin' -e 'd}' -e 's|@NAME@|$*|g; s|@PROGRAM@|$(unit_program_$*)|g; s| @ARGUMENTS@|$(if $(unit_arguments_$*), $(unit_arguments_$*))|; s|@WHAT@|$(unit_what_$*)|' \
			-e 's|@BINDIR@|$(BINDIR)|; s|@SYSCONFDIR@|$(SYSCONFDIR)|' packaging/systemd/service.in >'$(DESTDIR)$(UNITDIR)/firstcome-$*.service'
	[ -e '$(DESTDIR)$(SYSCONFDIR)/firstcome/$*.conf' ] || install -m 644 packaging/etc/$*.conf '$(DESTDIR)$(SYSCONFDIR)/firstcome/$*.conf'

deb: ## Debian packages, in build/deb
	@tools/install deb
	@tools/deb

containers: ## the stack in containers: images made here of Debian's packages, then up; PROFILE=monitoring; as root
	@tools/install containers
	@tools/containers build
	@tools/containers up $(PROFILE)

containers-down: ## stop them; the volumes stay
	@tools/containers down
