using System.CommandLine;
using System.CommandLine.Help;
using VmLab.Tracing;

namespace VmLab.Cli;

/// <summary>The <c>vmlab</c> tool.</summary>
static class Program
{
    static readonly Option<int> s_threads = new("--threads")
    {
        Description = "Host threads that run machines (0: one a host processor). It changes no result.",
        HelpName = "N",
    };

    static readonly Option<ulong?> s_seed = new("--seed") { Description = "Takes the place of the fleet's own seed.", HelpName = "N" };

    static readonly Option<string?> s_hashes = new("--hashes")
    {
        Description = "Writes a line NAME TIME HASH a machine and 100,000,000 counts of its time to this file.",
        HelpName = "FILE",
    };

    static readonly Option<Engine?> s_engine = new("--engine")
    {
        Description = "What runs the machines' instructions: auto, interpreter or translator. It changes no result.",
        HelpName = "ENGINE",
    };

    static readonly Option<string?> s_gdb = new("--gdb")
    {
        Description = "Before its first instruction, the first machine (or the one named) waits for gdb at this port of 127.0.0.1.",
        HelpName = "[VM:]PORT",
    };

    static readonly Option<string?> s_report = new("--report")
    {
        Description = "Writes a page of the run, to be opened in a browser, into this folder.",
        HelpName = "DIR",
    };

    // What a command throws, and Ctrl-C, are handled here and in the commands.
    static readonly InvocationConfiguration s_invocation = new()
    {
        EnableDefaultExceptionHandler = false,
        ProcessTerminationTimeout = null,
    };

    static int Main(string[] arguments)
    {
        try
        {
            ParseResult parsed = Commands().Parse(arguments);
            if (parsed.Errors.Count == 0) return parsed.Invoke(s_invocation);
            foreach (var error in parsed.Errors) Console.Error.WriteLine(error.Message);
            Console.Error.WriteLine("Try `vmlab --help`.");
            return ExitCode.WrongInput;
        }
        catch (LabException failure)
        {
            Console.Error.WriteLine(failure.Message);
            return ExitCode.Of(failure);
        }
    }

    static Command Commands()
    {
        var version = new Option<bool>("--version") { Description = "Shows the version." };
        var vmlab = new Command("vmlab", "Deterministic simulation testing for real, unmodified operating systems.")
        {
            Run(), Replay(), Trace(), Lockstep(), Repl(), Guests(), HostProcess(), Migrate(), new HelpOption(), version,
        };
        vmlab.SetAction(parsed =>
        {
            if (parsed.GetValue(version))
            {
                Console.WriteLine($"vmlab {Tool.Version}");
                return ExitCode.Passed;
            }
            Console.Error.WriteLine("Say what to do: `vmlab run FILE.csx`, `vmlab repl`, `vmlab guests`; see `vmlab --help`.");
            return ExitCode.WrongInput;
        });
        return vmlab;
    }

    static Command Run()
    {
        var file = new Argument<string>("FILE.csx") { Description = "The script." };
        var arguments = new Argument<string[]>("args")
        {
            Description = "After --: the script's Args.",
            Arity = ArgumentArity.ZeroOrMore,
        };
        var run = new Command("run", "Runs a script. Exit code: 0 passed, 1 an assertion failed, 2 script or input wrong, "
            + "3 infrastructure, 130 stopped by Ctrl-C.")
        {
            file, arguments, s_threads, s_seed, s_hashes, s_engine, s_gdb, s_report,
        };
        run.SetAction(parsed => RunCommand.Run(
            parsed.GetRequiredValue(file), parsed.GetValue(arguments) ?? [],
            Options(parsed) with { Replay = Replay(parsed, file, arguments) }, parsed.GetValue(s_report)));
        return run;
    }

    static Command Replay()
    {
        var bundle = new Argument<string>("BUNDLE") { Description = "What a failed run or test left: the path that it printed." };
        var until = new Option<string?>("--until") { Description = "Stops every lab at this guest time: 1.5s, 250ms.", HelpName = "TIME" };
        var replay = new Command("replay", "Runs what failed again, to the same failure. Exit codes are those of run.")
        {
            bundle, until, s_threads, s_hashes,
        };
        replay.SetAction(parsed => ReplayCommand.Run(
            parsed.GetRequiredValue(bundle), parsed.GetValue(until) is { } time ? ReplayCommand.ParseTime(time) : null, Options(parsed)));
        return replay;
    }

    static Command Trace()
    {
        var file = new Argument<string?>("FILE.csx") { Description = "The script.", Arity = ArgumentArity.ZeroOrOne };
        var arguments = new Argument<string[]>("args") { Description = "After --: the script's Args.", Arity = ArgumentArity.ZeroOrMore };
        var machine = new Option<string?>("--vm") { Description = "The machine; without, the fleet's first.", HelpName = "NAME" };
        var from = new Option<string?>("--from") { Description = "Where the trace goes on: 0x... or a kernel symbol.", HelpName = "PLACE" };
        var to = new Option<string?>("--to") { Description = "Where it pauses.", HelpName = "PLACE" };
        var mode = new Option<TraceMode>("--mode") { Description = "Instructions of user code, of the kernel, or all." };
        var exits = new Option<bool>("--exits") { Description = "Only what the monitor handles." };
        var limit = new Option<long>("--limit") { Description = "The most lines.", DefaultValueFactory = _ => long.MaxValue };
        var output = new Option<string?>("-o") { Description = "Writes to this file.", HelpName = "FILE" };
        var compare = new Option<string[]>("--compare")
        {
            Description = "Shows where two traces part, and runs nothing. Exit code 1 if they do.",
            HelpName = "A B",
            Arity = new ArgumentArity(2, 2),
            AllowMultipleArgumentsPerToken = true,
        };
        var trace = new Command("trace", "Runs a script and writes down the instructions of one of its machines.")
        {
            file, arguments, machine, from, to, mode, exits, limit, output, compare, s_threads, s_seed, s_hashes, s_engine,
        };
        trace.SetAction(parsed => parsed.GetValue(compare) is [var first, var second]
            ? TraceCommand.Compare(first, second, Console.Out)
            : TraceCommand.Run(
                parsed.GetValue(file), parsed.GetValue(arguments) ?? [], Options(parsed), parsed.GetValue(output),
                writer => new TraceOptions(writer)
                {
                    Machine = parsed.GetValue(machine),
                    From = parsed.GetValue(from),
                    To = parsed.GetValue(to),
                    Mode = parsed.GetValue(mode),
                    ExitsOnly = parsed.GetValue(exits),
                    Limit = parsed.GetValue(limit),
                }));
        return trace;
    }

    static Command Lockstep()
    {
        const ulong Most = 1_000_000_000_000;
        var file = new Argument<string>("FILE.csx") { Description = "The script." };
        var arguments = new Argument<string[]>("args") { Description = "After --: the script's Args.", Arity = ArgumentArity.ZeroOrMore };
        var step = new Option<ulong>("--step")
        {
            Description = "Counts, at most, from one comparison to the next; a quantum's end has one too.",
            HelpName = "N",
            DefaultValueFactory = _ => Machines.Lockstep.UsualStep,
        };
        var lockstep = new Command("lockstep", "Runs a script with every machine held against the interpreter, and stops where they part.")
        {
            file, arguments, step, s_threads, s_seed, s_hashes, s_engine,
        };
        lockstep.SetAction(parsed => RunCommand.Run(
            parsed.GetRequiredValue(file), parsed.GetValue(arguments) ?? [],
            Options(parsed) with { Lockstep = Math.Clamp(parsed.GetValue(step), 1, Most) }));
        return lockstep;
    }

    static Command Repl()
    {
        var repl = new Command("repl", "Reads and runs C# a statement at a time.") { s_threads, s_seed, s_hashes, s_engine };
        repl.SetAction(parsed => ReplCommand.Run(Options(parsed)));
        return repl;
    }

    static Command Guests()
    {
        var packages = new Argument<string[]>("PACKAGE")
        {
            Description = "Debian packages to have in the guest.",
            Arity = ArgumentArity.OneOrMore,
        };
        var update = new Option<bool>("--update") { Description = "Asks apt for the packages' present versions." };
        var kernel = new Option<string>("--kernel")
        {
            Description = "Debian's metapackage of the kernel.",
            DefaultValueFactory = _ => DebianKernel.Cloud.Package,
        };
        var modules = new Option<string[]>("--module")
        {
            Description = "A kernel module to have in the guest, besides the virtio drivers; * for all.",
        };
        var list = new Command("list", "Shows the guests in the store.");
        list.SetAction(_ => GuestsCommand.List());
        var fetch = new Command("fetch", "Fetches Debian's kernel, busybox and e2fsprogs, and builds the guest.")
        {
            kernel, modules, update,
        };
        fetch.SetAction(parsed => Fetch(parsed, []));
        var add = new Command("add", "Fetches and builds a guest with more Debian packages.")
        {
            packages, kernel, modules, update,
        };
        add.SetAction(parsed => Fetch(parsed, parsed.GetRequiredValue(packages)));
        var guests = new Command("guests", "The guests in the store: list (default), fetch, add.") { list, fetch, add };
        guests.SetAction(_ => GuestsCommand.List());
        return guests;

        int Fetch(ParseResult parsed, string[] names) => GuestsCommand.Fetch(
            names, parsed.GetRequiredValue(kernel), parsed.GetValue(modules) ?? [], parsed.GetValue(update));
    }

    static Command HostProcess()
    {
        var listen = new Option<string>("--listen")
        {
            Description = "Where to listen; port 0 takes any.", HelpName = "ADDRESS:PORT", DefaultValueFactory = _ => "127.0.0.1:9000",
        };
        var memory = new Option<int>("--memory")
        {
            Description = "What all machines together may have, in MiB.", HelpName = "MIB", DefaultValueFactory = _ => 65_536,
        };
        Option<string> key = KeyFile();
        var host = new Command("host", "Takes in machines that other processes send, and runs them.") { listen, key, memory, s_engine };
        host.SetAction(parsed => HostCommands.Listen(
            parsed.GetRequiredValue(listen), parsed.GetRequiredValue(key), Math.Clamp(parsed.GetValue(memory), 1, 1 << 30).MiB,
            Options(parsed).Engine));
        return host;
    }

    static Command Migrate()
    {
        var machine = new Argument<string>("VM") { Description = "Name of the machine." };
        var from = new Option<string>("--from") { Description = "The host that it runs on.", HelpName = "tcp://ADDRESS:PORT", Required = true };
        var to = new Option<string>("--to") { Description = "The host that it is to run on.", HelpName = "tcp://ADDRESS:PORT", Required = true };
        var mode = new Option<MigrationMode>("--mode")
        {
            Description = "Auto is pre-copy, and post-copy where that does not converge.", DefaultValueFactory = _ => MigrationMode.Auto,
        };
        var downtime = new Option<string>("--downtime")
        {
            Description = "How long the machine may stand still: 300ms.", HelpName = "TIME", DefaultValueFactory = _ => "300ms",
        };
        var throttle = new Option<bool>("--throttle") { Description = "Slows a machine down that dirties faster than can be copied." };
        var compress = new Option<bool>("--compress") { Description = "Compresses its pages." };
        Option<string> key = KeyFile();
        var migrate = new Command("migrate", "Moves a machine that runs on one host to another. Exit code: 0 completed, 1 it runs where it ran.")
        {
            machine, from, to, key, mode, downtime, throttle, compress,
        };
        migrate.SetAction(parsed =>
        {
            Migration plan = Migration.By(parsed.GetValue(mode), ReplayCommand.ParseTime(parsed.GetRequiredValue(downtime)));
            if (parsed.GetValue(throttle)) plan = plan.Throttle();
            if (parsed.GetValue(compress)) plan = plan.Compress();
            return HostCommands.Migrate(parsed.GetRequiredValue(machine), parsed.GetRequiredValue(from), parsed.GetRequiredValue(to),
                parsed.GetRequiredValue(key), plan);
        });
        return migrate;
    }

    static Option<string> KeyFile() => new("--key")
    {
        Description = "The key that hosts share, and nobody else has.", HelpName = "FILE", Required = true,
    };

    /// <summary>The command line, as far as a run's results depend on it.</summary>
    static string Replay(ParseResult parsed, Argument<string> file, Argument<string[]> arguments)
    {
        string path = Path.GetRelativePath(Environment.CurrentDirectory, parsed.GetRequiredValue(file));
        if (path.StartsWith("..", StringComparison.Ordinal)) path = Path.GetFileName(path);
        string seed = Options(parsed).Seed is { } given ? $" --seed {given}" : "";
        string[] words = parsed.GetValue(arguments) ?? [];
        return $"vmlab run {path}{seed}{(words.Length > 0 ? " -- " : "")}{string.Join(' ', words)}";
    }

    /// <summary>The environment's options, and over them those of the command line.</summary>
    static LabOptions Options(ParseResult parsed)
    {
        LabOptions options = LabOptions.FromEnvironment();
        return options with
        {
            Threads = parsed.GetResult(s_threads) is null ? options.Threads : Math.Clamp(parsed.GetValue(s_threads), 0, 256),
            Seed = parsed.GetValue(s_seed) ?? options.Seed,
            Hashes = parsed.GetValue(s_hashes) ?? options.Hashes,
            Engine = parsed.GetValue(s_engine) ?? options.Engine,
            Gdb = parsed.GetValue(s_gdb) is { } gdb ? GdbOption.Parse(gdb) : null,
        };
    }
}
