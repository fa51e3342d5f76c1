using System.Diagnostics;
using System.Runtime.Versioning;
using System.Text;
using CsCheck;
using VmLab.Guests.Channel;

namespace VmLab.Guests.Tests.Channel;

/// <summary>Runs the agent as a process of the host: the host's Linux is the best judge of its system calls.</summary>
[Platform("Linux")]
[SupportedOSPlatform("linux")]
[FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
[CancelAfter(60_000)]
public sealed class AgentTests
{
    // All but Run, and some that there are not.
    static readonly Gen<ChannelKind> s_harmless =
        Gen.OneOf([.. Enum.GetValues<ChannelKind>().Except([ChannelKind.Run]), (ChannelKind)0, (ChannelKind)99]);

    readonly string _folder = Directory.CreateTempSubdirectory("vmlab-agent").FullName;
    readonly ChannelDecoder _decoder = new();
    readonly ChannelOutbox _outbox = new();
    readonly Queue<ChannelMessage> _messages = new();
    readonly Process _agent;

    public AgentTests()
    {
        string path = Path.Combine(_folder, "agent");
        File.WriteAllBytes(path, AgentProgram.Build());
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        var start = new ProcessStartInfo(path)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            WorkingDirectory = _folder,
        };
        _agent = Process.Start(start)!;
        Until<ChannelReady>();
    }

    [TearDown]
    public void End()
    {
        _agent.StandardInput.Close();
        _agent.StandardOutput.BaseStream.CopyTo(Stream.Null);
        _agent.WaitForExit();
        _agent.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public void Command_gives_both_outputs_apart_and_its_exit_code()
    {
        Ran ran = Run(1, "echo out; echo err >&2; echo more; exit 3");

        Assert.That(ran, Is.EqualTo(new Ran("out\nmore\n", "err\n", 3)));
    }

    [TestCase("true", 0)]
    [TestCase("exit 255", 255)]
    [TestCase("kill -9 $$", 137)]
    [TestCase("kill -TERM $$", 143)]
    [TestCase("no-such-command-anywhere 2>/dev/null", 127)]
    [TestCase("(", 2)]
    public void Exit_code_is_that_of_the_shell(string command, int code) =>
        Assert.That(Run(1, command).Code, Is.EqualTo(code));

    [Test]
    public void Standard_input_is_empty() => Assert.That(Run(1, "cat; echo end"), Is.EqualTo(new Ran("end\n", "", 0)));

    [Test]
    public void Environment_is_always_the_same() =>
        Assert.That(Run(1, "env | sort | grep -vE '^(_|PWD|SHLVL|OLDPWD)='").Output, Is.EqualTo(
            "HOME=/root\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nTERM=dumb\n"));

    [Test]
    public void No_file_of_the_agents_leaks_into_commands()
    {
        Ran alone = Run(1, "ls /proc/self/fd; readlink /proc/self/fd/* | grep -c signalfd");
        Send(ChannelRequest.Run(2, "sleep 0.2"));
        Ran beside = Run(3, "ls /proc/self/fd; readlink /proc/self/fd/* | grep -c signalfd");

        Assert.That(beside.Output, Is.EqualTo(alone.Output).And.EndsWith("\n0\n"));
    }

    [Test]
    public void Any_byte_may_be_written() =>
        Assert.That(
            RunBytes(1, "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done"),
            Is.EqualTo(Enumerable.Range(0, 256).Select(value => (byte)value)));

    [Test]
    public void Much_output_comes_whole()
    {
        byte[] output = RunBytes(1, "head -c 3000000 /dev/zero | tr '\\0' '~'");

        Assert.That(output, Has.Length.EqualTo(3_000_000));
        Assert.That(output, Is.All.EqualTo((byte)'~'));
    }

    [Test]
    public void Last_words_before_the_end_are_not_lost()
    {
        for (uint id = 1; id <= 50; id++)
            Assert.That(Run(id, "head -c 60000 /dev/zero; exit 0").Output, Has.Length.EqualTo(60_000));
    }

    [Test]
    public void Commands_run_beside_one_another()
    {
        Send(ChannelRequest.Run(1, "sleep 0.3; echo slow"));
        Send(ChannelRequest.Run(2, "echo fast"));

        ChannelMessage[] messages = [.. Until<ChannelExited>(2)];

        Assert.That(messages.OfType<ChannelOutput>().Select(output => output.Id), Is.EqualTo((uint[])[2, 1]));
        Assert.That(messages.OfType<ChannelExited>().Select(exited => exited.Id), Is.EqualTo((uint[])[2, 1]));
    }

    [Test]
    public void Too_many_at_once_are_refused_and_the_others_go_on()
    {
        for (uint id = 0; id <= ChannelRequest.MostAtOnce; id++) Send(ChannelRequest.Run(id, "sleep 0.2"));

        ChannelMessage[] messages = [.. Until<ChannelExited>(ChannelRequest.MostAtOnce)];

        Assert.That(
            messages.OfType<ChannelFailed>().Single(),
            Is.EqualTo(new ChannelFailed(ChannelRequest.MostAtOnce, GuestErrors.Busy, "too much at once")));
        Assert.That(Run(99, "echo free").Output, Is.EqualTo("free\n"));
    }

    [Test]
    public void Kill_ends_a_command_and_what_it_started()
    {
        Send(ChannelRequest.Run(1, "sleep 1000 & echo $!; sleep 1000"));
        string child = Encoding.ASCII.GetString(((ChannelOutput)Until<ChannelOutput>().Last()).Bytes.Span).Trim();

        Send(ChannelRequest.Kill(1));

        Assert.That(Until<ChannelExited>().Last(), Is.EqualTo(new ChannelExited(1, 137)));
        Assert.That(Run(2, $"cat /proc/{child}/stat 2>/dev/null").Output, Does.Not.Contain(") S"), "it sleeps no more");
    }

    [Test]
    public void Command_killed_before_it_has_begun_ends_all_the_same()
    {
        for (uint id = 1; id <= 20; id++) Send([.. ChannelRequest.Run(id, "sleep 1000"), .. ChannelRequest.Kill(id)]);

        Assert.That(
            Until<ChannelExited>(20).OfType<ChannelExited>().Select(exited => exited.Code), Is.All.EqualTo(137));
    }

    [Test]
    public void Kill_of_what_is_over_is_no_matter()
    {
        Run(1, "true");
        Send(ChannelRequest.Kill(1));
        Send(ChannelRequest.Kill(77));

        Assert.That(Run(2, "echo here").Output, Is.EqualTo("here\n"));
    }

    [Test]
    public void Command_ends_though_it_leaves_a_process_behind_that_holds_its_output()
    {
        Send(ChannelRequest.Run(1, "(sleep 0.2; echo late) & echo early"));
        ChannelMessage[] messages = [.. Until<ChannelExited>()];
        ChannelMessage[] after = [.. Collect(2, "sleep 0.5")];

        Assert.That(messages.OfType<ChannelOutput>().Single().Bytes.ToArray(), Is.EqualTo("early\n"u8.ToArray()));
        Assert.That(after.OfType<ChannelOutput>(), Is.Empty);
    }

    [Test]
    public void Processes_left_behind_free_their_place_when_they_end()
    {
        for (uint id = 0; id < 3 * ChannelRequest.MostAtOnce; id++) Run(id, "sleep 0.01 &");

        Assert.That(Run(1000, "echo here").Output, Is.EqualTo("here\n"));
    }

    [Test]
    public void File_comes_back_as_it_was_put() =>
        Gen.Select(Gen.Byte.Array[0, 9000], Gen.OneOf<uint>(0x1A4, 0x1ED, 0x180)).Sample(
            (content, mode) =>
            {
                string path = $"{_folder}/a/b c/file";
                Send(ChannelRequest.Put(1, path, content, mode));
                ChannelMessage stored = Until<ChannelStored>().Last();
                (byte[] back, uint backMode) = Get(2, path);
                return stored == new ChannelStored(1) && back.AsSpan().SequenceEqual(content) && backMode == mode;
            },
            iter: 40, threads: 1);

    [Test]
    public void Large_file_goes_through_the_window()
    {
        byte[] content = [.. Enumerable.Range(0, 1_500_000).Select(i => (byte)(i * 7 >> 3))];
        string path = $"{_folder}/large";

        Send(ChannelRequest.Put(1, path, content));
        Until<ChannelStored>();

        Assert.That(File.ReadAllBytes(path), Is.EqualTo(content));
        Assert.That(_outbox.IsEmpty, Is.True);
    }

    [Test]
    public void Put_replaces_what_was_there()
    {
        File.WriteAllText($"{_folder}/old", "a much longer text");

        Send(ChannelRequest.Put(1, $"{_folder}/old", "new"u8));
        Until<ChannelStored>();

        Assert.That(File.ReadAllText($"{_folder}/old"), Is.EqualTo("new"));
    }

    [TestCase("/nowhere/at/all", 2, "no such file or directory")]
    [TestCase("/", 21, "is a directory")]
    public void File_that_cannot_be_read_fails_with_the_reason(string path, int error, string reason)
    {
        Send(ChannelRequest.Get(5, path));

        Assert.That(Until<ChannelFailed>().Last(), Is.EqualTo(new ChannelFailed(5, error, reason)));
    }

    [TestCase("/proc/no/such/place", 2)]
    [TestCase("/dev/null/file", 20)]
    [TestCase("/tmp", 21)]
    public void File_that_cannot_be_written_fails_once_and_its_bytes_are_passed_over(string path, int error)
    {
        Send(ChannelRequest.Put(5, path, new byte[20_000]));

        Assert.That(((ChannelFailed)Until<ChannelFailed>().Last()).ErrorNumber, Is.EqualTo(error));
        Assert.That(Run(6, "echo here").Output, Is.EqualTo("here\n"));
    }

    [Test]
    public void Full_device_fails_the_put()
    {
        Send(ChannelRequest.Put(5, "/dev/full", new byte[20_000]));

        Assert.That(((ChannelFailed)Until<ChannelFailed>().Last()).ErrorNumber, Is.EqualTo(28));
        Assert.That(Run(6, "echo here").Output, Is.EqualTo("here\n"));
    }

    [Test]
    public void Endless_file_is_read_until_it_is_cancelled()
    {
        Send(ChannelRequest.Get(5, "/dev/zero"));
        Until<ChannelFileContent>();
        Send(ChannelRequest.Kill(5));

        Assert.That(
            Until<ChannelFailed>().Last(), Is.EqualTo(new ChannelFailed(5, GuestErrors.Cancelled, "cancelled")));
    }

    [Test]
    public void Lost_part_of_a_file_does_not_go_unnoticed()
    {
        byte[] put = ChannelRequest.Put(5, $"{_folder}/file", new byte[10_000]);
        put[6000] ^= 1;

        Send(put);

        Assert.That(((ChannelFailed)Until<ChannelFailed>().Last()).ErrorNumber, Is.EqualTo(5));
    }

    [Test]
    public void Garbage_on_the_line_is_passed_over() =>
        Gen.OneOf(Gen.Byte, Gen.OneOf(ChannelFrame.Flag, ChannelFrame.Escape)).Array[0, 40_000].Sample(
            garbage =>
            {
                Send(garbage);
                Send([ChannelFrame.Flag, ChannelFrame.Flag, .. ChannelRequest.Hello()]);
                return Until<ChannelReady>().Last() == new ChannelReady(AgentProgram.ProtocolVersion, IsStart: false);
            },
            iter: 100, threads: 1);

    [Test]
    public void Frames_of_any_kind_and_content_are_borne() =>
        Gen.Select(s_harmless, Gen.UInt[0, 3], Gen.UInt, Gen.Char['a', 'z'].Array[0, 200]).Array[1, 20].Sample(
            frames =>
            {
                foreach ((ChannelKind kind, uint id, uint argument, char[] payload) in frames)
                    Send(ChannelFrame.Encode(kind, id, argument, Encoding.ASCII.GetBytes(payload)));
                Send(ChannelRequest.Hello());
                return Until<ChannelReady>().Any();
            },
            iter: 50, threads: 1);

    readonly record struct Ran(string Output, string Error, int Code);

    Ran Run(uint id, string command)
    {
        ChannelMessage[] messages = [.. Collect(id, command)];
        return new(
            Text(messages.OfType<ChannelOutput>().Select(output => output.Bytes)),
            Text(messages.OfType<ChannelError>().Select(error => error.Bytes)),
            messages.OfType<ChannelExited>().Single().Code);
    }

    static string Text(IEnumerable<ReadOnlyMemory<byte>> parts) =>
        Encoding.Latin1.GetString([.. parts.SelectMany(part => part.ToArray())]);

    byte[] RunBytes(uint id, string command) => Encoding.Latin1.GetBytes(Run(id, command).Output);

    IEnumerable<ChannelMessage> Collect(uint id, string command)
    {
        Send(ChannelRequest.Run(id, command));
        return Until<ChannelExited>();
    }

    (byte[] Content, uint Mode) Get(uint id, string path)
    {
        Send(ChannelRequest.Get(id, path));
        ChannelMessage[] messages = [.. Until<ChannelFileEnd>()];
        byte[] content = [.. messages.OfType<ChannelFileContent>().SelectMany(part => part.Bytes.ToArray())];
        return (content, messages.OfType<ChannelFileEnd>().Single().Mode);
    }

    void Send(byte[] request)
    {
        _outbox.Post(request);
        SendWhatMay();
    }

    void SendWhatMay()
    {
        for (byte[] part; (part = _outbox.Take()).Length > 0;) _agent.StandardInput.BaseStream.Write(part);
        _agent.StandardInput.BaseStream.Flush();
    }

    /// <summary>Reads until as many messages of the kind have come, and returns all that came.</summary>
    List<ChannelMessage> Until<T>(int count = 1)
    {
        var came = new List<ChannelMessage>();
        byte[] buffer = new byte[1 << 16];
        while (count > 0)
        {
            while (count > 0 && _messages.TryDequeue(out ChannelMessage? message))
            {
                came.Add(message);
                if (message is T) count--;
            }
            if (count == 0) break;
            int length = _agent.StandardOutput.BaseStream.Read(buffer);
            Assert.That(length, Is.Positive, "the agent has ended");
            foreach (ChannelMessage message in _decoder.Feed(buffer.AsSpan(0, length)))
            {
                _messages.Enqueue(message);
                _outbox.Notice(message);
            }
            SendWhatMay();
        }
        return came;
    }
}
