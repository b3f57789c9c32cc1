/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers of the calls that steer the service itself: settings and kill switches. Scope admin. */
#pragma once

#include "common/http.h"

http_handler api_get_settings, api_put_setting, api_post_suspend, api_post_resume_issuer;
