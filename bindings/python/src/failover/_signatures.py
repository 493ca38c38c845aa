"""The C interface as ctypes sees it: every function of failover.h with its result and arguments. A test compares it with the header."""

from __future__ import annotations

from ctypes import POINTER, c_bool, c_char_p, c_int, c_int32, c_size_t, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any, Dict, Tuple

# The interface this package was written for; the library needs the same major number and at least this minor one.
ABI_VERSION = 2


class EngineHandle(c_void_p):
    """failover_engine *"""


class EventHandle(c_void_p):
    """failover_event *"""


class StatusHandle(c_void_p):
    """failover_status *"""


class ReportHandle(c_void_p):
    """failover_report *"""


class ErrorHandle(c_void_p):
    """failover_error *"""


class BreakerHandle(c_void_p):
    """failover_breaker *"""


# Function pointers are plain pointers here, so that no Python function can be given to the library: a thread of the library that
# wants the interpreter while that shuts down is ended by it in the middle of the library's own frames, and takes the process along.
_FUNCTION = c_void_p

_ERR = POINTER(ErrorHandle)

SIGNATURES: Dict[str, Tuple[Any, Tuple[Any, ...]]] = {
    "failover_code_name": (c_char_p, (c_int32,)),
    "failover_code_description": (c_char_p, (c_int32,)),
    "failover_code_at": (c_int32, (c_size_t,)),
    "failover_error_code": (c_int32, (ErrorHandle,)),
    "failover_error_message": (c_char_p, (ErrorHandle,)),
    "failover_error_path": (c_char_p, (ErrorHandle,)),
    "failover_error_json": (c_char_p, (ErrorHandle,)),
    "failover_error_is_retriable": (c_bool, (ErrorHandle,)),
    "failover_error_free": (None, (ErrorHandle,)),
    "failover_abi_version": (c_uint32, ()),
    "failover_version": (c_char_p, ()),
    "failover_engine_new": (c_int32, (c_char_p, c_size_t, POINTER(EngineHandle), _ERR)),
    "failover_engine_new_from_file": (c_int32, (c_char_p, POINTER(EngineHandle), _ERR)),
    "failover_engine_start": (c_int32, (EngineHandle, _ERR)),
    "failover_engine_stop": (c_int32, (EngineHandle, c_uint32, _ERR)),
    "failover_engine_request_stop": (None, (EngineHandle,)),
    "failover_engine_free": (None, (EngineHandle,)),
    "failover_engine_status": (c_int32, (EngineHandle, POINTER(StatusHandle), _ERR)),
    "failover_engine_status_of": (c_int32, (EngineHandle, c_char_p, POINTER(StatusHandle), _ERR)),
    "failover_engine_next_event": (c_int32, (EngineHandle, c_uint32, POINTER(EventHandle), _ERR)),
    "failover_engine_event_fd": (c_int32, (EngineHandle, POINTER(c_int), _ERR)),
    "failover_engine_wake": (c_int32, (EngineHandle, _ERR)),
    "failover_engine_on_event": (c_int32, (EngineHandle, _FUNCTION, c_void_p, _FUNCTION, _ERR)),
    "failover_engine_confirm": (c_int32, (EngineHandle, c_char_p, _ERR)),
    "failover_engine_pause_with": (c_int32, (EngineHandle, c_char_p, c_char_p, c_uint32, _ERR)),
    "failover_engine_pause": (c_int32, (EngineHandle, c_char_p, _ERR)),
    "failover_engine_resume": (c_int32, (EngineHandle, c_char_p, _ERR)),
    "failover_engine_reset": (c_int32, (EngineHandle, c_char_p, _ERR)),
    "failover_engine_confirm_all": (c_int32, (EngineHandle, _ERR)),
    "failover_engine_adopt": (c_int32, (EngineHandle, c_char_p, c_char_p, _ERR)),
    "failover_engine_cordon": (c_int32, (EngineHandle, c_char_p, c_char_p, _ERR)),
    "failover_engine_uncordon": (c_int32, (EngineHandle, c_char_p, c_char_p, _ERR)),
    "failover_engine_rejoin": (c_int32, (EngineHandle, c_char_p, c_char_p, c_int32, _ERR)),
    "failover_engine_rebuild": (c_int32, (EngineHandle, c_char_p, c_char_p, c_int32, _ERR)),
    "failover_engine_clone": (c_int32, (EngineHandle, c_char_p, c_char_p, c_int32, _ERR)),
    "failover_engine_force": (c_int32, (EngineHandle, c_char_p, c_char_p, c_uint64, _ERR)),
    "failover_engine_force_with": (c_int32, (EngineHandle, c_char_p, c_char_p, c_uint64, POINTER(c_uint64), _ERR)),
    "failover_engine_switchover": (c_int32, (EngineHandle, c_char_p, c_char_p, c_uint64, POINTER(c_uint64), _ERR)),
    "failover_engine_switchover_cancel": (c_int32, (EngineHandle, c_char_p, _ERR)),
    "failover_engine_switchover_preflight": (c_int32, (EngineHandle, c_char_p, c_char_p, POINTER(ReportHandle), _ERR)),
    "failover_engine_survived_xid": (c_int32, (EngineHandle, c_char_p, c_uint64, c_uint32, POINTER(ReportHandle), _ERR)),
    "failover_engine_survived_lsn": (c_int32, (EngineHandle, c_char_p, c_char_p, c_uint32, POINTER(ReportHandle), _ERR)),
    "failover_engine_reload_from_file": (c_int32, (EngineHandle, c_char_p, _ERR)),
    "failover_engine_reload": (c_int32, (EngineHandle, c_char_p, c_size_t, _ERR)),
    "failover_event_kind": (c_int32, (EventHandle,)),
    "failover_event_kind_name": (c_char_p, (c_int32,)),
    "failover_event_kind_at": (c_int32, (c_size_t,)),
    "failover_event_severity": (c_int32, (EventHandle,)),
    "failover_event_seq": (c_uint64, (EventHandle,)),
    "failover_event_time_ns": (c_uint64, (EventHandle,)),
    "failover_event_mono_ns": (c_uint64, (EventHandle,)),
    "failover_event_generation": (c_uint64, (EventHandle,)),
    "failover_event_service": (c_char_p, (EventHandle,)),
    "failover_event_server": (c_char_p, (EventHandle,)),
    "failover_event_message": (c_char_p, (EventHandle,)),
    "failover_event_json": (c_char_p, (EventHandle,)),
    "failover_event_task_id": (c_uint64, (EventHandle,)),
    "failover_event_deadline_ms": (c_uint64, (EventHandle,)),
    "failover_event_ref": (EventHandle, (EventHandle,)),
    "failover_event_free": (None, (EventHandle,)),
    "failover_status_json": (c_char_p, (StatusHandle,)),
    "failover_status_metrics": (c_char_p, (StatusHandle, c_bool)),
    "failover_status_service_count": (c_size_t, (StatusHandle,)),
    "failover_status_service": (c_char_p, (StatusHandle, c_size_t)),
    "failover_status_state": (c_char_p, (StatusHandle, c_char_p)),
    "failover_status_primary": (c_char_p, (StatusHandle, c_char_p)),
    "failover_status_generation": (c_uint64, (StatusHandle, c_char_p)),
    "failover_status_health": (c_char_p, (StatusHandle, c_char_p)),
    "failover_status_would_fail_over": (c_bool, (StatusHandle, c_char_p)),
    "failover_status_free": (None, (StatusHandle,)),
    "failover_event_host": (c_char_p, (EventHandle,)),
    "failover_event_port": (c_uint16, (EventHandle,)),
    "failover_status_primary_host": (c_char_p, (StatusHandle, c_char_p)),
    "failover_status_primary_port": (c_uint16, (StatusHandle, c_char_p)),
    "failover_engine_check_all": (c_int32, (EngineHandle, c_uint32, POINTER(ReportHandle), _ERR)),
    "failover_engine_doctor": (c_int32, (EngineHandle, c_char_p, c_uint32, POINTER(ReportHandle), _ERR)),
    "failover_engine_config": (c_int32, (EngineHandle, POINTER(ReportHandle), _ERR)),
    "failover_config_validate": (c_int32, (c_char_p, c_size_t, POINTER(ReportHandle), _ERR)),
    "failover_config_validate_from_file": (c_int32, (c_char_p, POINTER(ReportHandle), _ERR)),
    "failover_config_effective": (c_int32, (c_char_p, c_size_t, POINTER(ReportHandle), _ERR)),
    "failover_config_effective_from_file": (c_int32, (c_char_p, POINTER(ReportHandle), _ERR)),
    "failover_replay": (c_int32, (c_char_p, POINTER(ReportHandle), _ERR)),
    "failover_report_json": (c_char_p, (ReportHandle,)),
    "failover_report_passed": (c_bool, (ReportHandle,)),
    "failover_report_free": (None, (ReportHandle,)),
    "failover_engine_register_check": (c_int32, (EngineHandle, c_char_p, _FUNCTION, c_void_p, _FUNCTION, _ERR)),
    "failover_engine_register_action": (c_int32, (EngineHandle, c_char_p, _FUNCTION, c_void_p, _FUNCTION, _ERR)),
    "failover_engine_offer_action": (c_int32, (EngineHandle, c_char_p, _ERR)),
    "failover_engine_offer_check": (c_int32, (EngineHandle, c_char_p, _ERR)),
    "failover_task_complete": (c_int32, (EngineHandle, c_uint64, c_int32, c_char_p, c_size_t, _ERR)),
    "failover_engine_report_outcome": (c_int32, (EngineHandle, c_char_p, c_char_p, c_int32, _ERR)),
    "failover_breaker_new": (c_int32, (c_uint32, c_uint32, c_uint32, POINTER(BreakerHandle), _ERR)),
    "failover_breaker_permit": (c_int32, (BreakerHandle, POINTER(c_uint64), _ERR)),
    "failover_breaker_settle": (c_int32, (BreakerHandle, c_uint64, c_int32, _ERR)),
    "failover_breaker_state": (c_int32, (BreakerHandle,)),
    "failover_breaker_reset": (None, (BreakerHandle,)),
    "failover_breaker_free": (None, (BreakerHandle,)),
}
