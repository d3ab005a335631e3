// The fields of every type that crosses between the processes of an engine, one list each for both
// directions. The structured bindings name all members of a type, so a member that is added to it
// and forgotten here does not compile.
#pragma once

#include "engine/process/wire.h"
#include "engine/request.h"
#include "engine/scheduler.h"
#include "octavo/engine_client.h"

namespace octavo::wire {

template <>
inline constexpr FinishReason kLast<FinishReason> = FinishReason::kError;
template <>
inline constexpr StatusCode kLast<StatusCode> = StatusCode::kInternal;
template <>
inline constexpr StructuredOutput::Kind kLast<StructuredOutput::Kind> =
    StructuredOutput::Kind::kStructuralTag;

// T is U, perhaps const: a list of fields is written from a const value and read into another.
template <typename T, typename U>
concept Is = std::same_as<std::remove_const_t<T>, U>;

template <typename Archive, Is<StructuredOutput> T>
void fields(Archive& archive, T& output) {
  auto& [kind, text, disable_any_whitespace, field] = output;
  archive(kind, text, disable_any_whitespace, field);
}

template <typename Archive, Is<ThinkingBlock> T>
void fields(Archive& archive, T& block) {
  auto& [start, end, open, max_tokens] = block;
  archive(start, end, open, max_tokens);
}

template <typename Archive, Is<RepetitionDetection> T>
void fields(Archive& archive, T& detection) {
  auto& [max_pattern_size, min_pattern_size, min_count] = detection;
  archive(max_pattern_size, min_pattern_size, min_count);
}

template <typename Archive, Is<SamplingParams> T>
void fields(Archive& archive, T& params) {
  auto& [n, presence, frequency, repetition, temperature, top_p, top_k, min_p, seed, stop,
         stop_token_ids, ignore_eos, max_tokens, min_tokens, logprobs, prompt_logprobs, logit_bias,
         allowed_token_ids, bad_words, include_stop, skip_special, shown_special, detokenize,
         structured_output, thinking, repetition_detection] = params;
  archive(n, presence, frequency, repetition, temperature, top_p, top_k, min_p, seed, stop,
          stop_token_ids, ignore_eos, max_tokens, min_tokens, logprobs, prompt_logprobs, logit_bias,
          allowed_token_ids, bad_words, include_stop, skip_special, shown_special, detokenize,
          structured_output, thinking, repetition_detection);
}

template <typename Archive, Is<RequestProgress::Answer> T>
void fields(Archive& archive, T& answer) {
  auto& [tokens, ended] = answer;
  archive(tokens, ended);
}

template <typename Archive, Is<RequestProgress> T>
void fields(Archive& archive, T& progress) {
  auto& [answers, admitted, num_cached, first_scheduled, next_prompt_logprob] = progress;
  archive(answers, admitted, num_cached, first_scheduled, next_prompt_logprob);
}

// A masker is code and cannot cross: EngineCore::takes_maskers().
template <typename Archive, Is<Request> T>
void fields(Archive& archive, T& request) {
  auto& [key, id, prompt, params, max_tokens, eos_ids, bad_words, priority, arrival, cache_salt,
         seed, progress, make_masker] = request;
  static_cast<void>(make_masker);
  archive(key, id, prompt, params, max_tokens, eos_ids, bad_words, priority, arrival, cache_salt,
          seed, progress);
}

template <typename Archive, Is<SampledToken> T>
void fields(Archive& archive, T& sampled) {
  auto& [token, invalid_logits, logprob, rank, top] = sampled;
  archive(token, invalid_logits, logprob, rank, top);
}

template <typename Archive, Is<SequenceEvent> T>
void fields(Archive& archive, T& event) {
  auto& [request, index, sequence, has_token, token, prompt_tokens, finish, stop_token, hide_token,
         error, error_code, prompt_logprobs, prompt_logprobs_first, num_cached_tokens,
         first_scheduled] = event;
  archive(request, index, sequence, has_token, token, prompt_tokens, finish, stop_token, hide_token,
          error, error_code, prompt_logprobs, prompt_logprobs_first, num_cached_tokens,
          first_scheduled);
}

template <typename Archive, Is<EngineStats> T>
void fields(Archive& archive, T& stats) {
  auto& [running, waiting, kv_cache_usage, free_kv_blocks, num_preemptions, prompt_tokens,
         generation_tokens, prefix_cache_queries, prefix_cache_hits, steps, engine_cpu_seconds] =
      stats;
  archive(running, waiting, kv_cache_usage, free_kv_blocks, num_preemptions, prompt_tokens,
          generation_tokens, prefix_cache_queries, prefix_cache_hits, steps, engine_cpu_seconds);
}

template <typename Archive, Is<CacheMap> T>
void fields(Archive& archive, T& map) {
  auto& [num_blocks, window, free, cached, used, shared, blocks_per_cell, runs] = map;
  archive(num_blocks, window, free, cached, used, shared, blocks_per_cell, runs);
}

template <typename Archive, Is<SamplingView> T>
void fields(Archive& archive, T& view) {
  auto& [temperature, top_p, top_k, min_p, presence, frequency, repetition, seed, logprobs,
         ignore_eos] = view;
  archive(temperature, top_p, top_k, min_p, presence, frequency, repetition, seed, logprobs,
          ignore_eos);
}

template <typename Archive, Is<SequenceView> T>
void fields(Archive& archive, T& view) {
  auto& [running, prompt, cached, computed, output, max_output, sampling] = view;
  archive(running, prompt, cached, computed, output, max_output, sampling);
}

template <typename Archive, Is<EngineState> T>
void fields(Archive& archive, T& state) {
  auto& [running, waiting, cache, sequences] = state;
  archive(running, waiting, cache, sequences);
}

template <typename Archive, Is<ModelInfo> T>
void fields(Archive& archive, T& info) {
  auto& [name, architecture, dtype, device, vocab_size, max_model_len, block_size, num_kv_blocks,
         num_parameters, weight_bytes, kv_cache_bytes, max_num_seqs, max_num_batched_tokens,
         max_logprobs, prefix_caching, eos_token_ids, default_sampling] = info;
  archive(name, architecture, dtype, device, vocab_size, max_model_len, block_size, num_kv_blocks,
          num_parameters, weight_bytes, kv_cache_bytes, max_num_seqs, max_num_batched_tokens,
          max_logprobs, prefix_caching, eos_token_ids, default_sampling);
}

template <typename Archive, Is<ModelOptions> T>
void fields(Archive& archive, T& options) {
  auto& [model, served_name, tokenizer, dtype, load_format, max_model_len, generation_config,
         chat_template, trust_request_special_tokens, chat_template_content_format, seed] = options;
  archive(model, served_name, tokenizer, dtype, load_format, max_model_len, generation_config,
          chat_template, trust_request_special_tokens, chat_template_content_format, seed);
}

template <typename Archive, Is<CacheOptions> T>
void fields(Archive& archive, T& options) {
  auto& [block_size, kv_cache_memory_bytes, memory_share, gpu_memory_utilization,
         enable_prefix_caching] = options;
  archive(block_size, kv_cache_memory_bytes, memory_share, gpu_memory_utilization,
          enable_prefix_caching);
}

template <typename Archive, Is<SchedulerOptions> T>
void fields(Archive& archive, T& options) {
  auto& [max_num_batched_tokens, max_num_seqs, max_mixed_prefill_tokens, offline,
         long_prefill_token_threshold, enable_chunked_prefill, max_step_ms, policy,
         async_scheduling] = options;
  archive(max_num_batched_tokens, max_num_seqs, max_mixed_prefill_tokens, offline,
          long_prefill_token_threshold, enable_chunked_prefill, max_step_ms, policy,
          async_scheduling);
}

template <typename Archive, Is<DeviceOptions> T>
void fields(Archive& archive, T& options) {
  auto& [device, threads, enforce_eager, profile, tune, batch_invariant, step_timeout_seconds] =
      options;
  archive(device, threads, enforce_eager, profile, tune, batch_invariant, step_timeout_seconds);
}

template <typename Archive, Is<EngineOptions> T>
void fields(Archive& archive, T& options) {
  auto& [model, cache, scheduler, device, max_logprobs, output_threads, engine_process] = options;
  archive(model, cache, scheduler, device, max_logprobs, output_threads, engine_process);
}

// Status keeps its members to itself.
template <typename Archive>
void fields(Archive& archive, const Status& status) {
  archive(status.code(), status.message(), status.param());
}
template <typename Archive>
void fields(Archive& archive, Status& status) {
  StatusCode code = status.code();
  std::string message = status.message(), param = status.param();
  archive(code, message, param);
  status = Status(code, std::move(message)).with_param(std::move(param));
}

}  // namespace octavo::wire
