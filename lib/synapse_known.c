/*
 * synapse_known.c - names of Synapse's database: sequences, tables; unique ones in
 * synapse_unique.c.
 *
 * Facts read off a dump of Synapse 1.160 (schema 94); sequences and what they must agree with after
 * synapse/storage/databases/main (the arguments of MultiWriterIdGenerator and
 * build_sequence_generator); names of tables that earlier releases had, so that they are not taken
 * for somebody else's.
 */
#include "synapse_state.h"

#include <stdio.h>
#include <string.h>

const struct ems_synapse_sequence ems_synapse_sequences[EMS_SYNAPSE_SEQUENCES] = {
    {"events_stream_seq",
     "events",
     EMS_SEQUENCE_UP,
     true,
     {{"events", "stream_ordering"},
      {"current_state_delta_stream", "stream_id"},
      {"ex_outlier_stream", "event_stream_ordering"}}},
    {"events_backfill_stream_seq",
     "backfill",
     EMS_SEQUENCE_DOWN,
     true,
     {{"events", "stream_ordering"}, {"ex_outlier_stream", "event_stream_ordering"}}},
    {"account_data_sequence",
     "account_data",
     EMS_SEQUENCE_UP,
     true,
     {{"room_account_data", "stream_id"},
      {"room_tags_revisions", "stream_id"},
      {"account_data", "stream_id"}}},
    {"cache_invalidation_stream_seq",
     "caches",
     EMS_SEQUENCE_UP,
     true,
     {{"cache_invalidation_stream_by_instance", "stream_id"}}},
    {"device_inbox_sequence",
     "to_device",
     EMS_SEQUENCE_UP,
     true,
     {{"device_inbox", "stream_id"}, {"device_federation_outbox", "stream_id"}}},
    {"device_lists_sequence",
     "device_lists_stream",
     EMS_SEQUENCE_UP,
     true,
     {{"device_lists_stream", "stream_id"},
      {"user_signature_stream", "stream_id"},
      {"device_lists_outbound_pokes", "stream_id"},
      {"device_lists_changes_in_room", "stream_id"},
      {"device_lists_remote_pending", "stream_id"},
      {"device_lists_changes_converted_stream_position", "stream_id"}}},
    {"e2e_cross_signing_keys_sequence",
     "e2e_cross_signing_keys",
     EMS_SEQUENCE_UP,
     true,
     {{"e2e_cross_signing_keys", "stream_id"}}},
    {"presence_stream_sequence",
     "presence_stream",
     EMS_SEQUENCE_UP,
     true,
     {{"presence_stream", "stream_id"}}},
    {"push_rules_stream_sequence",
     "push_rules_stream",
     EMS_SEQUENCE_UP,
     true,
     {{"push_rules_stream", "stream_id"}}},
    {"pushers_sequence",
     "pushers",
     EMS_SEQUENCE_UP,
     true,
     {{"pushers", "id"}, {"deleted_pushers", "stream_id"}}},
    {"receipts_sequence",
     "receipts",
     EMS_SEQUENCE_UP,
     true,
     {{"receipts_linearized", "stream_id"}}},
    {"un_partial_stated_event_stream_sequence",
     "un_partial_stated_event_stream",
     EMS_SEQUENCE_UP,
     true,
     {{"un_partial_stated_event_stream", "stream_id"}}},
    {"un_partial_stated_room_stream_sequence",
     "un_partial_stated_room_stream",
     EMS_SEQUENCE_UP,
     true,
     {{"un_partial_stated_room_stream", "stream_id"}}},
    {"quarantined_media_id_seq",
     "quarantined_media",
     EMS_SEQUENCE_UP,
     true,
     {{"quarantined_media_changes", "stream_id"}}},
    {"thread_subscriptions_sequence",
     "thread_subscriptions",
     EMS_SEQUENCE_UP,
     true,
     {{"thread_subscriptions", "stream_id"}}},
    {"sticky_events_sequence",
     "sticky_events",
     EMS_SEQUENCE_UP,
     true,
     {{"sticky_events", "stream_id"}}},
    {"profile_updates_sequence",
     "profile_updates",
     EMS_SEQUENCE_UP,
     true,
     {{"profile_updates", "stream_id"}}},
    {"state_group_id_seq", NULL, EMS_SEQUENCE_UP, true, {{"state_groups", "id"}}},
    {"event_auth_chain_id", NULL, EMS_SEQUENCE_UP, true, {{"event_auth_chains", "chain_id"}}},
    {"application_services_txn_id_seq",
     NULL,
     EMS_SEQUENCE_UP,
     true,
     {{"application_services_txns", "txn_id"}}},
    {"user_id_seq", NULL, EMS_SEQUENCE_LOCALPART, false, {{"users", "name"}}},
    {"instance_map_instance_id_seq",
     NULL,
     EMS_SEQUENCE_UP,
     false,
     {{"instance_map", "instance_id"}}},
    {"sliding_sync_connections_connection_key_seq",
     NULL,
     EMS_SEQUENCE_UP,
     false,
     {{"sliding_sync_connections", "connection_key"}}},
    {"sliding_sync_connection_positions_connection_position_seq",
     NULL,
     EMS_SEQUENCE_UP,
     false,
     {{"sliding_sync_connection_positions", "connection_position"}}},
    {"sliding_sync_connection_required_state_required_state_id_seq",
     NULL,
     EMS_SEQUENCE_UP,
     false,
     {{"sliding_sync_connection_required_state", "required_state_id"}}},
    {"state_groups_pending_deletion_sequence_number_seq",
     NULL,
     EMS_SEQUENCE_UP,
     false,
     {{"state_groups_pending_deletion", "sequence_number"}}},
};

/* Each between two blanks: all of 1.160, and what there was since schema 54. */
static const char tables[] =
    " access_tokens account_data account_data_max_stream_id account_validity"
    " application_services application_services_regex application_services_state"
    " application_services_txns applied_module_schemas applied_schema_deltas"
    " appservice_room_list appservice_stream_position background_updates batch_events"
    " blocked_rooms cache_invalidation_stream cache_invalidation_stream_by_instance"
    " current_state_delta_stream current_state_events current_state_resets dehydrated_devices"
    " delayed_events delayed_events_stream_pos deleted_pushers destination_rooms destinations"
    " device_auth_providers device_federation_inbox device_federation_outbox device_inbox"
    " device_lists_changes_converted_stream_position device_lists_changes_in_room"
    " device_lists_changes_in_room_max_pruned_stream_id device_lists_outbound_last_success"
    " device_lists_outbound_pokes device_lists_remote_cache device_lists_remote_extremeties"
    " device_lists_remote_pending device_lists_remote_resync device_lists_stream"
    " device_max_stream_id devices e2e_cross_signing_keys e2e_cross_signing_signatures"
    " e2e_device_keys_json e2e_fallback_keys_json e2e_one_time_keys_json e2e_room_keys"
    " e2e_room_keys_versions e2e_share_keys erased_users event_auth event_auth_chain_links"
    " event_auth_chain_to_calculate event_auth_chains event_backward_extremities"
    " event_content_hashes event_destinations event_edge_hashes event_edges event_expiry"
    " event_failed_pull_attempts event_forward_extremities event_json event_labels"
    " event_push_actions event_push_actions_staging event_push_summary"
    " event_push_summary_last_receipt_stream_id event_push_summary_stream_ordering"
    " event_reference_hashes event_relations event_reports event_search event_signatures"
    " event_to_state_groups event_txn_id_device_id events ex_outlier_stream"
    " federation_inbound_events_staging federation_stream_position feedback"
    " group_attestations_remote group_attestations_renewals group_invites group_roles"
    " group_room_categories group_rooms group_summary_roles group_summary_room_categories"
    " group_summary_rooms group_summary_users group_users groups guest_access"
    " history_visibility ignored_users insertion_event_edges insertion_event_extremities"
    " insertion_events instance_map local_current_membership local_group_membership"
    " local_group_updates local_invites local_media_repository"
    " local_media_repository_thumbnails local_media_repository_url_cache login_tokens"
    " monthly_active_users msc4242_state_dag_edges msc4242_state_dag_forward_extremities"
    " open_id_tokens partial_state_events partial_state_rooms partial_state_rooms_servers"
    " per_user_experimental_features presence presence_allow_inbound presence_list"
    " presence_stream profile_updates profile_updates_per_user profiles"
    " public_room_list_stream push_rules push_rules_enable push_rules_stream pusher_throttle"
    " pushers quarantined_media_changes ratelimit_override receipts_graph receipts_linearized"
    " received_transactions redactions refresh_tokens registration_tokens rejections"
    " remote_media_cache remote_media_cache_thumbnails remote_profile_cache room_account_data"
    " room_alias_servers room_aliases room_ban_redactions room_depth room_forgetter_stream_pos"
    " room_hosts room_invite_state room_memberships room_names room_reports room_retention"
    " room_stats room_stats_current room_stats_earliest_token room_stats_historical"
    " room_stats_state room_tags room_tags_revisions room_tombstones rooms scheduled_tasks"
    " schema_compat_version schema_version sent_transactions server_keys_json"
    " server_signature_keys server_tls_certificates sessions"
    " sliding_sync_connection_lazy_members sliding_sync_connection_positions"
    " sliding_sync_connection_required_state sliding_sync_connection_room_configs"
    " sliding_sync_connection_streams sliding_sync_connections sliding_sync_joined_rooms"
    " sliding_sync_joined_rooms_to_recalculate sliding_sync_membership_snapshots state_events"
    " state_forward_extremities state_group_edges state_groups state_groups_pending_deletion"
    " state_groups_persisting state_groups_state stats_incremental_position stats_stream_pos"
    " sticky_events stream_ordering_to_exterm stream_positions thread_subscriptions threads"
    " threepid_guest_access_tokens threepid_validation_session threepid_validation_token"
    " timeline_gaps topics transaction_id_to_pdu ui_auth_sessions ui_auth_sessions_credentials"
    " ui_auth_sessions_ips un_partial_stated_event_stream un_partial_stated_room_stream"
    " user_daily_visits user_directory user_directory_search user_directory_stale_remote_users"
    " user_directory_stream_pos user_external_ids user_filters user_in_directory user_ips"
    " user_reports user_signature_stream user_stats user_stats_current user_stats_historical"
    " user_threepid_id_server user_threepids users users_in_public_rooms"
    " users_pending_deactivation users_to_send_full_presence_to users_who_share_private_rooms"
    " users_who_share_public_rooms worker_locks worker_read_write_locks"
    " worker_read_write_locks_mode"
    " ";

/* Not Synapse's own, but met beside its tables. */
static const struct {
    const char *prefix, *whose;
} guests[] = {
    {"port_from_sqlite3", "left behind by synapse_port_db"},
    {"state_compressor_", "rust-synapse-compress-state"},
    {"email_account_validity", "module synapse-email-account-validity"},
};

bool ems_synapse_knows_table(const char *name, const char **whose)
{
    char word[66];

    *whose = NULL;
    snprintf(word, sizeof word, " %s ", name);
    if (strchr(name, ' ') == NULL && strstr(tables, word) != NULL)
        return true;
    for (size_t i = 0; i < sizeof guests / sizeof guests[0]; i++)
        if (strncmp(name, guests[i].prefix, strlen(guests[i].prefix)) == 0)
            *whose = guests[i].whose;
    return false;
}

const char *ems_synapse_total_table(enum ems_synapse_total total)
{
    static const char *const names[] = {
        "events",           "event_json", "rooms",         "access_tokens",
        "devices",          "pushers",    "e2e_room_keys", "e2e_one_time_keys_json",
        "user_external_ids"};

    return names[total];
}
