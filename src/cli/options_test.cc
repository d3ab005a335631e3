// Tests of the command line: what users paste, what a config file holds, what is refused and how.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cli/model_path.h"
#include "cli/options.h"
#include "cli/vllm_flags.h"

namespace octavo::cli {
namespace {

struct Parsed {
  ServeOptions options;
  Status status;
  Words notices;
};

Parsed parse(const Words& args) {
  Parsed p;
  FlagSet flags = make_serve_flags(p.options);
  p.status = flags.parse(args);
  p.notices = flags.notices();
  return p;
}

std::string temporary(const std::string& name) {
  const auto dir =
      std::filesystem::temp_directory_path() / ("octavo_cli_test_" + std::to_string(getpid()));
  std::filesystem::create_directories(dir);
  return (dir / name).string();
}

std::string write_file(const std::string& name, const std::string& text) {
  const std::string path = temporary(name);
  std::ofstream(path) << text;
  return path;
}

TEST(Flags, ReadsBothSpellingsOfNamesAndValues) {
  const Parsed p = parse({"m", "--max_num_seqs", "4", "--port=9000", "--max-num-batched-tokens=2k",
                          "--no-enable-prefix-caching", "--no_async_scheduling"});
  ASSERT_TRUE(p.status.ok()) << p.status.message();
  EXPECT_EQ(p.options.engine.model.model, "m");
  EXPECT_EQ(p.options.engine.scheduler.max_num_seqs, 4);
  EXPECT_EQ(p.options.server.port, 9000);
  EXPECT_EQ(p.options.engine.scheduler.max_num_batched_tokens, 2000);
  EXPECT_FALSE(p.options.engine.cache.enable_prefix_caching);
  EXPECT_FALSE(p.options.engine.scheduler.async_scheduling);
}

TEST(Flags, FaultsAndTheTimeOfAStepHaveTheirOwn) {
  const Parsed none = parse({});
  EXPECT_FALSE(none.options.engine.engine_process);
  EXPECT_EQ(none.options.engine.device.step_timeout_seconds, 300);
  EXPECT_EQ(none.options.engine.scheduler.max_step_ms, 50);
  const Parsed p = parse({"--engine-process", "--step-timeout", "2.5", "--max-step-ms=0"});
  ASSERT_TRUE(p.status.ok()) << p.status.message();
  EXPECT_TRUE(p.options.engine.engine_process);
  EXPECT_EQ(p.options.engine.device.step_timeout_seconds, 2.5);
  EXPECT_EQ(p.options.engine.scheduler.max_step_ms, 0);
  EXPECT_FALSE(parse({"--max-step-ms", "-1"}).status.ok());
}

TEST(Flags, DefaultsAreTheStructs) {
  const Parsed p = parse({});
  ASSERT_TRUE(p.status.ok());
  EXPECT_EQ(p.options.engine.model.model, "");
  EXPECT_FALSE(p.options.engine.model.max_model_len);
  EXPECT_EQ(p.options.server.shutdown_timeout_seconds, 30);
}

TEST(Flags, MaxModelLenTakesSuffixesAndAuto) {
  EXPECT_EQ(parse({"--max-model-len", "32k"}).options.engine.model.max_model_len, 32000);
  EXPECT_EQ(parse({"--max-model-len", "32K"}).options.engine.model.max_model_len, 32768);
  EXPECT_EQ(parse({"--max-model-len", "auto"}).options.engine.model.max_model_len, std::nullopt);
  EXPECT_EQ(parse({"--max-model-len", "-1"}).options.engine.model.max_model_len, std::nullopt);
  EXPECT_FALSE(parse({"--max-model-len", "0"}).status.ok());
  EXPECT_EQ(parse({"--kv-cache-memory-bytes", "512M"}).options.engine.cache.kv_cache_memory_bytes,
            512 << 20);
}

TEST(Flags, ListsTakeManyWordsAndRepeat) {
  const Parsed p =
      parse({"--served-model-name", "a", "b", "--api-key", "x", "--api-key=y", "--seed", "7"});
  ASSERT_TRUE(p.status.ok()) << p.status.message();
  EXPECT_EQ(p.options.server.served_model_names, (Words{"a", "b"}));
  EXPECT_EQ(p.options.server.api_keys, (Words{"x", "y"}));
}

TEST(Flags, TheLastOfASingleValueWins) {
  EXPECT_EQ(parse({"--port", "1", "--port", "2"}).options.server.port, 2);
}

TEST(Flags, DtypeKnowsVllmsOtherNames) {
  EXPECT_EQ(parse({"--dtype", "half"}).options.engine.model.dtype, "float16");
  EXPECT_EQ(parse({"--dtype", "float"}).options.engine.model.dtype, "float32");
  const Status refused = parse({"--dtype", "int3"}).status;
  EXPECT_EQ(refused.message(),
            "--dtype: 'int3' is none of auto|bfloat16|float16|half|float32|float");
}

TEST(Flags, MistakesAreNamed) {
  EXPECT_EQ(parse({"--port", "99999"}).status.message(), "--port: must be between 0 and 65535");
  EXPECT_EQ(parse({"--port", "x"}).status.message(), "--port: 'x' is not an integer");
  EXPECT_EQ(parse({"--port"}).status.message(), "--port needs a value: N");
  EXPECT_EQ(parse({"--max-num-seq", "3"}).status.message(),
            "unknown flag --max-num-seq; did you mean --max-num-seqs?");
  EXPECT_EQ(parse({"--zzzzzzzz"}).status.message(), "unknown flag --zzzzzzzz");
  EXPECT_EQ(parse({"a", "b"}).status.message(), "unexpected argument 'b'");
  EXPECT_EQ(parse({"--async-scheduling=1"}).status.message(),
            "--async-scheduling takes no value; --no-async-scheduling turns it off");
}

TEST(Flags, AModelCannotBeServedUnderAnEmptyName) {
  EXPECT_FALSE(parse({"--served-model-name", ""}).status.ok());
  EXPECT_FALSE(parse({"--served-model-name", "a", ""}).status.ok());
}

TEST(Flags, NothingIsSetWhenAnyWordIsWrong) {
  EXPECT_EQ(parse({"--port", "9", "--nonsense-flag"}).options.server.port, 8000);
}

TEST(Vllm, FlagsThatChangeNothingAreTakenWithANotice) {
  const Parsed p =
      parse({"m", "-tp", "1", "--trust-remote-code", "--enforce_eager", "-O3", "-cc.mode=0",
             "--gpu-memory-utilization", "0.9", "--disable-log-requests", "--swap-space=4",
             "--no-enable-lora", "--limit-mm-per-prompt.image", "2"});
  ASSERT_TRUE(p.status.ok()) << p.status.message();
  EXPECT_EQ(p.options.engine.model.model, "m");
  ASSERT_EQ(p.notices.size(), 8u);
  EXPECT_EQ(p.notices[0], "-tp 1 changes nothing in octavo");
  EXPECT_TRUE(p.options.engine.device.enforce_eager);
  EXPECT_EQ(p.options.engine.cache.gpu_memory_utilization, 0.9);
}

TEST(Vllm, OptimisationLevelDoesNotSwallowTheModel) {
  EXPECT_EQ(parse({"-O3", "m"}).options.engine.model.model, "m");
}

TEST(Vllm, FlagsThatWeLackAreRefusedByName) {
  EXPECT_EQ(parse({"--enable-lora"}).status.message(),
            "--enable-lora is known to vLLM but not supported by octavo yet");
  EXPECT_EQ(parse({"-tp", "2"}).status.message(),
            "-tp 2 is known to vLLM but not supported by octavo yet");
  EXPECT_EQ(parse({"--quantization", "awq"}).status.code(), StatusCode::kUnimplemented);
  EXPECT_EQ(parse({"--lora-modules", "a=b", "c=d"}).status.code(), StatusCode::kUnimplemented);
  EXPECT_EQ(parse({"--tool-server"}).status.message(), "--tool-server needs a value");
}

TEST(Parsers, AreNamedAsInVllmAndCheckedAtOnce) {
  const Parsed p = parse({"m", "--enable-auto-tool-choice", "--tool-call-parser", "hermes",
                          "--reasoning-parser=qwen3"});
  ASSERT_TRUE(p.status.ok()) << p.status.message();
  EXPECT_EQ(p.options.server.tool_call_parser, "hermes");
  EXPECT_EQ(p.options.server.reasoning_parser, "qwen3");
  EXPECT_NE(parse({"m", "--tool-call-parser", "herme"}).status.message().find("hermes"),
            std::string::npos);
}

TEST(Vllm, TheTableHasNoFlagTwiceAndNoneOfOurs) {
  ServeOptions options;
  const std::string help = make_serve_flags(options).help();
  for (const VllmFlag& flag : vllm_flags()) {
    EXPECT_EQ(find_vllm_flag(flag.name), &flag) << flag.name;
    if (!flag.alias.empty()) {
      EXPECT_EQ(find_vllm_flag(flag.alias), &flag) << flag.alias;
    }
    EXPECT_EQ(help.find("--" + std::string(flag.name) + " "), std::string::npos) << flag.name;
  }
}

TEST(Config, FileFillsFlagsAndTheCommandLineWins) {
  const std::string file =
      write_file("good.yaml",
                 "model: from-file\nport: 1234\nmax-num-seqs: 9\nserved-model-name: [a, b]\n"
                 "enable-prefix-caching: false\nenable_log_requests: true\n"
                 "trust-remote-code: true\ncompilation-config: {mode: 3, name: x}\n");
  const Parsed p = parse({"--config", file, "--port", "5", "--served-model-name", "c"});
  ASSERT_TRUE(p.status.ok()) << p.status.message();
  EXPECT_EQ(p.options.engine.model.model, "from-file");
  EXPECT_EQ(p.options.server.port, 5);
  EXPECT_EQ(p.options.engine.scheduler.max_num_seqs, 9);
  EXPECT_EQ(p.options.server.served_model_names, Words{"c"});
  EXPECT_FALSE(p.options.engine.cache.enable_prefix_caching);
  EXPECT_TRUE(p.options.server.enable_log_requests);
  EXPECT_EQ(parse({"mine", "--config=" + file}).options.engine.model.model, "mine");
}

TEST(Config, MistakesNameTheFileAndThePlace) {
  const Status broken = parse({"--config", write_file("broken.yaml", "a: [1,\nb: 2")}).status;
  EXPECT_NE(broken.message().find("line "), std::string::npos) << broken.message();
  const Status unknown = parse({"--config", write_file("unknown.yaml", "prot: 1")}).status;
  EXPECT_NE(unknown.message().find("did you mean --port"), std::string::npos) << unknown.message();
  EXPECT_EQ(parse({"--config", "/nonexistent.yaml"}).status.code(), StatusCode::kNotFound);
  EXPECT_FALSE(parse({"--config", write_file("list.yaml", "- a\n- b\n")}).status.ok());
}

TEST(Help, IsGroupedAndCanBeNarrowed) {
  ServeOptions options;
  FlagSet flags = make_serve_flags(options);
  ASSERT_TRUE(flags.parse({"--help=prefix"}).ok());
  EXPECT_EQ(flags.help_asked(), "prefix");
  const std::string all = flags.help();
  for (const char* group : {"Server:", "Model:", "KV cache:", "Scheduler:", "Device:"}) {
    EXPECT_NE(all.find(group), std::string::npos) << group;
  }
  const std::string some = flags.help("prefix");
  EXPECT_NE(some.find("--[no-]enable-prefix-caching"), std::string::npos);
  EXPECT_EQ(some.find("--port"), std::string::npos);
}

TEST(ServeOptionsTest, ApiKeysComeFromTheEnvironmentWithoutAFlag) {
  setenv("VLLM_API_KEY", "secret", 1);
  Parsed p = parse({});
  finish_serve_options(p.options);
  EXPECT_EQ(p.options.server.api_keys, Words{"secret"});
  p = parse({"--api-key", "mine", "--disable-log-stats"});
  finish_serve_options(p.options);
  EXPECT_EQ(p.options.server.api_keys, Words{"mine"});
  EXPECT_EQ(p.options.server.log_stats_seconds, 0);
  unsetenv("VLLM_API_KEY");
}

TEST(ServeOptionsTest, LimitsAreOffUnlessGiven) {
  const serve::ClientLimits none = parse({}).options.server.limits;
  EXPECT_EQ(none.max_streams_per_client + none.max_queue, 0);
  EXPECT_TRUE(none.rate_per_client.off() && none.key_failures_per_client.off());
  const Parsed p = parse({"--max-streams-per-client=4", "--max-queue", "9",
                          "--rate-limit-per-client", "600/m", "--key-failures-per-client", "5/h",
                          "--h11-max-incomplete-event-size=8K", "--h11-max-header-count=50"});
  ASSERT_TRUE(p.status.ok()) << p.status.message();
  EXPECT_EQ(p.options.server.limits.max_streams_per_client, 4);
  EXPECT_EQ(p.options.server.limits.max_queue, 9);
  EXPECT_EQ(p.options.server.limits.rate_per_client.per_second(), 10);
  EXPECT_EQ(p.options.server.limits.key_failures_per_client.count, 5);
  EXPECT_EQ(p.options.server.max_header_bytes, 8192u);
  EXPECT_EQ(p.options.server.max_header_count, 50);
  EXPECT_EQ(parse({"--rate-limit-per-client", "fast"}).status.message(),
            "--rate-limit-per-client: 'fast' is no rate: a whole number, then /s, /m or /h");
  EXPECT_FALSE(parse({"--max-queue", "-1"}).status.ok());
}

TEST(ServeOptionsTest, AKeyFileLeavesTheEnvironmentOut) {
  setenv("OCTAVO_API_KEY", "secret", 1);
  Parsed p = parse({"--api-key-file", "keys"});
  finish_serve_options(p.options);
  EXPECT_TRUE(p.options.server.api_keys.empty());
  EXPECT_EQ(p.options.server.api_key_file, "keys");
  unsetenv("OCTAVO_API_KEY");
}

TEST(Counts, FollowVllmsRule) {
  EXPECT_EQ(*parse_count("4096"), 4096);
  EXPECT_EQ(*parse_count("1k"), 1000);
  EXPECT_EQ(*parse_count("1K"), 1024);
  EXPECT_EQ(*parse_count("25.6k"), 25600);
  EXPECT_EQ(*parse_count("2G"), int64_t{2} << 30);
  for (const char* bad : {"", "k", "1.5K", "1.5", "-1k", "0x10", "1kk", "nan", "99999999T"}) {
    EXPECT_FALSE(parse_count(bad).ok()) << bad;
  }
}

TEST(ModelPath, FindsHuggingFaceSnapshotsAndBundledModels) {
  namespace fs = std::filesystem;
  const fs::path cache = temporary("hub");
  const fs::path repository = cache / "models--owner--name";
  fs::create_directories(repository / "refs");
  fs::create_directories(repository / "snapshots" / "abc123");
  std::ofstream(repository / "refs" / "main") << "abc123\n";
  const ModelPlaces places{cache.string(), {(cache / "none").string(), cache.string()}};

  EXPECT_EQ(*find_model("owner/name", "", places), (repository / "snapshots" / "abc123").string());
  EXPECT_EQ(*find_model("owner/name", "abc123", places),
            (repository / "snapshots" / "abc123").string());
  EXPECT_EQ(find_model("owner/name", "v2", places).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(find_model("owner/other", "", places).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(find_model("no-such-folder", "", places).status().message(),
            "model no-such-folder: no such folder");
  EXPECT_EQ(*find_model(cache.string(), "", places), cache.string());
  EXPECT_FALSE(find_bundled_model(places).ok());
  fs::create_directories(cache / kBundledModel);
  EXPECT_EQ(*find_bundled_model(places), (cache / kBundledModel).string());
}

TEST(TransportFlags, SayHowClientsReachTheServer) {
  const Parsed p =
      parse({"--uds", "/run/o.sock", "--ssl-certfile", "c", "--ssl-keyfile=k", "--ssl-ca-certs",
             "a", "--ssl-cert-reqs", "2", "--ssl-ciphers", "HIGH", "--enable-ssl-refresh",
             "--root-path", "/llm/", "--forwarded-allow-ips", "10.0.0.0/8", "::1"});
  ASSERT_TRUE(p.status.ok()) << p.status.message();
  const serve::ServerOptions& server = p.options.server;
  EXPECT_EQ(server.uds, "/run/o.sock");
  EXPECT_EQ(server.tls.certfile, "c");
  EXPECT_EQ(server.tls.keyfile, "k");
  EXPECT_EQ(server.tls.ca_certs, "a");
  EXPECT_EQ(server.tls.cert_reqs, 2);
  EXPECT_EQ(server.tls.ciphers, "HIGH");
  EXPECT_TRUE(server.tls.refresh);
  EXPECT_EQ(server.root_path, "/llm") << "without the slash that some write";
  EXPECT_EQ(server.forwarded_allow_ips, (Words{"10.0.0.0/8", "::1"}));
  EXPECT_TRUE(parse({}).options.server.forwarded_allow_ips.empty()) << "nobody is believed";
  EXPECT_FALSE(parse({"--ssl-cert-reqs", "3"}).status.ok());
  EXPECT_EQ(parse({"--root-path", "llm"}).status.message(),
            "--root-path: 'llm' is no path such as /octavo");
}

TEST(TransportFlags, OriginsAreJsonListsAsInVllm) {
  const Parsed none = parse({});
  EXPECT_EQ(none.options.server.cors.origins, (Words{"*"}));
  EXPECT_FALSE(none.options.server.cors.credentials);
  const Parsed p = parse({"--allowed-origins", R"(["https://a","https://b"])", "--allowed-methods",
                          R"(["GET"])", "--allowed-headers=[]", "--allow-credentials"});
  ASSERT_TRUE(p.status.ok()) << p.status.message();
  EXPECT_EQ(p.options.server.cors.origins, (Words{"https://a", "https://b"}));
  EXPECT_EQ(p.options.server.cors.methods, (Words{"GET"}));
  EXPECT_TRUE(p.options.server.cors.headers.empty());
  EXPECT_TRUE(p.options.server.cors.credentials);
  for (const char* text : {"*", "https://a", "{}", "[1]", ""}) {
    EXPECT_EQ(parse({"--allowed-origins", text}).status.message(),
              "--allowed-origins: must be a JSON list of strings, such as '[\"*\"]'");
  }
}

}  // namespace
}  // namespace octavo::cli
