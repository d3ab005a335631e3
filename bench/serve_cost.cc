// CPU time of a server for one streamed token, by thread.
//   bench_serve_cost [--streams 1,100,1000,10000] [--seconds S] [--clients sweep|wait]
//   bench_serve_cost --pid PID --port PORT [--streams N] [--seconds S]
// The first starts bench_scripted_server, which lies beside this program, for each number of
// streams: Octavo's whole path of a token but the model. The second measures any server that runs
// on this machine and speaks OpenAI's chat dialect. The figures are of the time in which all
// streams run; the client's own time is not in them, and with `wait` the time that send() needs to
// wake it is (stream_load.h). Beside them stands the floor: a loop that does nothing but one
// send() of as many bytes to each of as many sockets, at the same pace, to clients that sweep.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "stream_load.h"

namespace octavo {
namespace {

using std::chrono::duration;

struct Options {
  std::vector<int> streams = {1, 100, 1000, 10000};
  double seconds = 5;
  bool clients_wait = false;
  int port = 0;
  pid_t pid = 0;
  std::string server;  // path of bench_scripted_server
};

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "bench_serve_cost: %s\n", why.c_str());
  std::exit(1);
}

// Tokens come at the rate of a busy GPU, and slowly enough that a step's events are sent before
// the next step's are there: what is measured is one send() a token.
double step_seconds(int streams) {
  return std::max(0.01, streams * 50e-6);
}

// What the threads of a process have used, by name. Seconds.
struct CpuTimes {
  std::map<std::string, double> by_thread;
  double user = 0, system = 0;  // to 10 ms each

  double total() const {
    double sum = 0;
    for (const auto& [name, seconds] : by_thread) sum += seconds;
    return sum;
  }
};

CpuTimes read_cpu_times(pid_t pid) {
  CpuTimes times;
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  const std::filesystem::path tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    double nanoseconds = 0;
    std::ifstream(task.path() / "schedstat") >> nanoseconds;
    if (task.path().filename() == std::to_string(pid)) name = "main";
    times.by_thread[name] += nanoseconds * 1e-9;
    std::string stat;
    std::getline(std::ifstream(task.path() / "stat"), stat);
    std::istringstream fields(stat.substr(stat.rfind(')') + 1));
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;  // up to field 13 of proc(5)
    double user = 0, system = 0;
    fields >> user >> system;
    times.user += user * tick;
    times.system += system * tick;
  }
  return times;
}

struct Figures {
  double tokens = 0;
  double bytes_per_token = 0;
  double tokens_per_chunk = 0;
  double user_share = 0;
  std::map<std::string, double> microseconds;  // a token, by thread
  double total = 0;
};

std::string chat_body(int i) {
  return R"({"model":"","stream":true,"temperature":0,"ignore_eos":true,"max_tokens":1500,)"
         R"("messages":[{"role":"user","content":"Tell me story number )" +
         std::to_string(i) + R"(."}]})";
}

void sweep_for(StreamLoad& load, double seconds, double pause) {
  for (const double end = steady_seconds() + seconds; steady_seconds() < end;) {
    load.sweep();
    std::this_thread::sleep_for(duration<double>(pause));
  }
}

Figures measure(const Options& options, pid_t pid, int port, int streams) {
  StreamLoad load(port, "/v1/chat/completions");
  for (int i = 0; i < streams; ++i) {
    if (!load.add(chat_body(i))) die("cannot connect to port " + std::to_string(port));
    if (i % 500 == 499) load.sweep();
  }
  const double pause = step_seconds(streams) / 4;
  const double patience = steady_seconds() + 60;
  while (load.counts().begun < streams && steady_seconds() < patience)
    sweep_for(load, pause, pause);
  if (load.counts().begun < streams) {
    die(std::to_string(load.counts().begun) + " of " + std::to_string(streams) +
        " streams have begun within a minute");
  }
  sweep_for(load, 1, pause);

  if (options.clients_wait) load.wait(1);
  const StreamLoad::Counts first = load.counts();
  const CpuTimes before = read_cpu_times(pid);
  if (options.clients_wait) {
    load.wait(options.seconds);
  } else {
    sweep_for(load, options.seconds, pause);
  }
  const StreamLoad::Counts last = load.counts();
  const CpuTimes after = read_cpu_times(pid);
  if (last.ended > 0) die("streams have ended before the time was up");

  Figures figures;
  figures.tokens = static_cast<double>(last.events - first.events);
  figures.bytes_per_token = static_cast<double>(last.bytes - first.bytes) / figures.tokens;
  figures.tokens_per_chunk = figures.tokens / static_cast<double>(last.chunks - first.chunks);
  const double user = after.user - before.user;
  figures.user_share = user / (user + after.system - before.system);
  for (const auto& [name, seconds] : after.by_thread) {
    const auto was = before.by_thread.find(name);
    const double spent = seconds - (was == before.by_thread.end() ? 0 : was->second);
    figures.microseconds[name] = spent * 1e6 / figures.tokens;
  }
  figures.total = (after.total() - before.total()) * 1e6 / figures.tokens;
  return figures;
}

// Connected pairs over the loopback.
std::vector<std::pair<int, int>> connect_pairs(int count) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr address{.sa_family = AF_INET, .sa_data = {0, 0, 127, 0, 0, 1}};
  socklen_t length = sizeof address;
  CHECK(bind(listener, &address, length) == 0 && listen(listener, 128) == 0);
  CHECK(getsockname(listener, &address, &length) == 0);
  std::vector<std::pair<int, int>> pairs;
  for (int i = 0; i < count; ++i) {
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(client, &address, sizeof address) == 0);
    pairs.emplace_back(accept(listener, nullptr, nullptr), client);
  }
  close(listener);
  return pairs;
}

// Microseconds of CPU for one send() of `bytes`, in rounds over all sockets as a server makes them.
double send_floor(int sockets, size_t bytes, double seconds) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  // Both ends are this process's.
  const auto pairs = connect_pairs(std::min(sockets, static_cast<int>(limit.rlim_cur / 2) - 50));
  std::atomic<bool> done = false;
  std::thread reader([&] {
    std::string buffer(64 << 10, '\0');
    while (!done) {
      for (const auto& [server, client] : pairs)
        recv(client, buffer.data(), buffer.size(), MSG_DONTWAIT);
      std::this_thread::sleep_for(duration<double>(step_seconds(sockets) / 4));
    }
  });
  const std::string message(bytes, 'x');
  int64_t sends = 0;
  const double cpu = thread_cpu_seconds();
  for (const double end = steady_seconds() + seconds; steady_seconds() < end;) {
    for (const auto& [server, client] : pairs) {
      sends += send(server, message.data(), bytes, MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
    }
    std::this_thread::sleep_for(duration<double>(step_seconds(sockets)));
  }
  const double spent = thread_cpu_seconds() - cpu;
  done = true;
  reader.join();
  for (const auto& [server, client] : pairs) {
    close(server);
    close(client);
  }
  return spent * 1e6 / static_cast<double>(sends);
}

void print(int streams, const Figures& figures, double floor) {
  std::printf("%d streams: %.1f us a token (user %.0f %%)", streams, figures.total,
              figures.user_share * 100);
  const char* comma = ": ";
  for (const auto& [name, microseconds] : figures.microseconds) {
    if (microseconds < 0.005) continue;
    std::printf("%s%s %.2f", comma, name.c_str(), microseconds);
    comma = ", ";
  }
  std::printf("; a bare send() %.2f; %.0f tokens of %.0f bytes, %.2f a chunk\n", floor,
              figures.tokens, figures.bytes_per_token, figures.tokens_per_chunk);
  std::fflush(stdout);
}

// Starts the scripted server; its port is the end of the line that it prints.
std::pair<pid_t, int> start_server(const Options& options, int streams) {
  int out[2];
  CHECK(pipe2(out, O_CLOEXEC) == 0);
  const std::string step = std::to_string(step_seconds(streams) * 1e3);
  const std::string most = std::to_string(std::max(streams, 16));
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(out[1], STDOUT_FILENO);
    execl(options.server.c_str(), options.server.c_str(), "--step-ms", step.c_str(),
          "--max-num-seqs", most.c_str(), nullptr);
    std::perror(options.server.c_str());
    _exit(1);
  }
  close(out[1]);
  FILE* lines = fdopen(out[0], "r");
  char line[200] = "";
  if (fgets(line, sizeof line, lines) == nullptr) die("the server has not started");
  fclose(lines);
  return {pid, std::atoi(std::string(line).substr(std::string(line).rfind(':') + 1).c_str())};
}

void run(const Options& options) {
  for (const int streams : options.streams) {
    auto [pid, port] =
        options.pid != 0 ? std::pair(options.pid, options.port) : start_server(options, streams);
    const Figures figures = measure(options, pid, port, streams);
    if (options.pid == 0) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    const auto bytes = static_cast<size_t>(figures.bytes_per_token);
    print(streams, figures, send_floor(streams, bytes, std::min(2.0, options.seconds)));
  }
}

Options parse_options(int argc, char** argv) {
  Options options;
  options.server =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "bench_scripted_server";
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const std::string value = argv[i + 1];
    if (flag == "--seconds") options.seconds = std::stod(value);
    if (flag == "--port") options.port = std::stoi(value);
    if (flag == "--pid") options.pid = std::stoi(value);
    if (flag == "--clients") options.clients_wait = value == "wait";
    if (flag != "--streams") continue;
    options.streams.clear();
    std::istringstream list(value);
    for (std::string number; std::getline(list, number, ',');)
      options.streams.push_back(std::stoi(number));
  }
  return options;
}

}  // namespace
}  // namespace octavo

int main(int argc, char** argv) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  octavo::run(octavo::parse_options(argc, argv));
}
