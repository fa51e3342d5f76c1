using System.Collections.Concurrent;
using System.Net;
using Iced.Intel;
using VmLab.Core;
using VmLab.Guests;
using VmLab.Hosting;
using VmLab.Machines;
using VmLab.Machines.Migrating;
using VmLab.Migrating;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Tests.Migrating;

/// <summary>Machines that move to another host by TCP, here one in the same process.</summary>
public sealed class RemoteMigrationTests
{
    const ushort Serial = 0x3F8;
    const int Rounds = 100_000;

    static readonly byte[] s_key = [.. Enumerable.Range(1, 32).Select(i => (byte)i)];
    static readonly VmRef s_web = new("web");
    static readonly Migration s_plan = Migration.PreCopy(5.Seconds).Patient(2.Seconds);

    // So slow a way that the pages of a machine take half a second.
    const int SlowWay = 600;   // bytes a millisecond

    static readonly Migration[] s_following =
        [Migration.PostCopy(300.Milliseconds).Patient(2.Seconds), Migration.Auto(300.Milliseconds).Rounds(1).Patient(2.Seconds)];

    static readonly TestCaseData[] s_foreign =
    [
        Foreign("protocol", offer => offer with { Protocol = 7 }, "it comes by version 7 of the protocol, and here version 1 is spoken"),
        Foreign("processor", offer => offer with { Processor = 1 }, "its processor has other features than those here"),
        Foreign("memory", offer => offer with { Memory = 2.GiB }, "the host has 1 GiB of memory, of which 0 B are taken: web's 2 GiB do not fit"),
    ];

    static Fleet Web(int mib = 4, int pages = 256) => Fleet.Define("remote").Seed(4)
        .Vm("web", vm => vm.Boot(Guest.Program(asm => Counts(asm, pages))).Memory(mib.MiB).Disk("disk", 64.KiB));

    [Test]
    public void A_machine_goes_on_where_it_was_at_another_host()
    {
        using var host = new TestHost();

        MigrationReport report = host.Migrate(Web(), s_plan, out MachineStatus here);

        Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Completed), report.ToString());
        Assert.That(here, Is.EqualTo(MachineStatus.Departed));
        Assert.That(host.Server.Machines, Is.EqualTo(new[] { "web" }));
        // Each line is the letter behind the one before, on both hosts.
        Assert.That(host.NextLetters(4), Is.EqualTo(host.LettersFrom(host.Letters[0], 4)));
        Assert.That(host.Letters[0], Is.EqualTo(host.LettersFrom(host.LastHere, 2)[1]));
    }

    [TestCase(MigrationMode.PostCopy)]
    [TestCase(MigrationMode.StopAndCopy)]
    [TestCase(MigrationMode.Auto)]
    public void Every_mode_moves_it(MigrationMode mode)
    {
        using var host = new TestHost();

        MigrationReport report = host.Migrate(Web(), Migration.By(mode, 5.Seconds).Compress(), out MachineStatus here);

        Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Completed), report.ToString());
        Assert.That(here, Is.EqualTo(MachineStatus.Departed));
        Assert.That(host.NextLetters(4), Is.EqualTo(host.LettersFrom(host.Letters[0], 4)));
    }

    [Test]
    public void From_host_to_host_it_goes_by_command()
    {
        using TestHost one = new(), other = new();
        one.Migrate(Web(), s_plan, out _);
        one.NextLetters(2);

        MigrationReport report = HostServer.Migrate(new Host(one.Server.Address, s_key), "web", $"127.0.0.1:{other.Server.Address.Port}", s_plan);

        Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Completed), report.ToString());
        Assert.That(() => one.Server.Machines, Is.Empty.After(5).Seconds.PollEvery(10).MilliSeconds);
        Assert.That(other.NextLetters(2), Is.EqualTo(other.LettersFrom(other.Letters[0], 2)));
    }

    [Test]
    public void Another_key_is_refused_and_the_machine_runs_on()
    {
        using var host = new TestHost();

        MigrationReport report = TestHost.Migrate(Web(), new Host(host.Server.Address, new byte[32]), s_plan, out MachineStatus here, out _);

        Assert.That((report.Outcome, here), Is.EqualTo((MigrationOutcome.Failed, MachineStatus.Running)));
        Assert.That(report.Reason, Does.EndWith("have both hosts the same key?"));
        Assert.That(host.Server.Machines, Is.Empty);
        Assert.That(host.Told, Has.Some.Contains("another key"));
    }

    [TestCaseSource(nameof(s_foreign))]
    public void What_cannot_be_here_is_refused_before_anything_of_it_is_sent(Func<MigrationOffer, MigrationOffer> change, string reason)
    {
        using var host = new TestHost();
        MigrationOffer offer = change(MigrationOffer.Of(new MachineConfig("web", 4.MiB, new ProgramGuest(asm => Counts(asm)), 1), 4.MiB, []));

        Assert.That(Refusal(host, MigrationCodec.Record(offer)), Is.EqualTo(reason));
        Assert.That(host.Server.Machines, Is.Empty);
    }

    [Test]
    public void An_offer_that_is_written_another_way_is_refused()
    {
        using var host = new TestHost();

        Assert.That(Refusal(host, [1, 2, 3]), Does.StartWith("the machine that is offered cannot be read here: "));
        Assert.That(() => host.Told, Has.Some.Contains("cannot be read here").After(5).Seconds.PollEvery(10).MilliSeconds);
    }

    static TestCaseData Foreign(string what, Func<MigrationOffer, MigrationOffer> change, string reason) =>
        new TestCaseData(change, reason).SetArgDisplayNames(what);

    static string Refusal(TestHost host, byte[] offer)
    {
        using HostConnection connection = HostConnection.Connect(new Host(host.Server.Address, s_key));
        connection.Send(new MigrationMessage(MigrationMessageKind.Offer, offer));
        MigrationMessage answer = connection.Receive();
        Assert.That(answer.Kind, Is.EqualTo(MigrationMessageKind.Refused));
        return MigrationCodec.ReadText(answer.Body);
    }

    [Test]
    public void What_does_not_fit_is_refused_with_the_reason()
    {
        using var host = new TestHost(5.MiB);
        host.Migrate(Web(), s_plan, out _);

        Fleet other = Fleet.Define("x").Vm("other", vm => vm.Boot(Guest.Program(asm => Counts(asm))).Memory(4.MiB));
        MigrationReport report = host.Migrate(other, s_plan, out MachineStatus here);

        Assert.That(report.Outcome, Is.EqualTo(MigrationOutcome.Refused));
        Assert.That(report.Reason, Does.Contain("5 MiB of memory, of which 4 MiB are taken"));
        Assert.That(here, Is.EqualTo(MachineStatus.Running));
    }

    [Test]
    public void What_cannot_go_is_told_before_anything_is_sent()
    {
        Fleet pair = Web().Vm("two", vm => vm.Boot(Guest.Program(asm => Counts(asm))).Memory(4.MiB)).Lan("lan", out _, [s_web, new VmRef("two")]);
        using var host = new TestHost();

        Assert.That(() => host.Migrate(pair, s_plan, out _), Throws.InstanceOf<LabException>().With.Message.Contains("network lan"));
        Assert.That(() => TestHost.Migrate(Web(), new Host(new DnsEndPoint("127.0.0.1", 1), s_key), s_plan, out _, out _),
            Throws.InstanceOf<LabException>().With.Message.Contains("cannot be reached"));
        Assert.That(() => Host.At("nowhere", "x"), Throws.InstanceOf<LabException>().With.Message.Contains("tcp://127.0.0.1:9000"));
    }

    [Test]
    public void Wherever_the_connection_is_cut_one_side_has_the_machine(
        [Values] bool cutsThere, [Values(MigrationMode.PreCopy, MigrationMode.StopAndCopy)] MigrationMode mode)
    {
        Migration plan = Migration.By(mode, 5.Seconds).Patient(2.Seconds);
        var seen = new List<(bool Here, bool There, MigrationOutcome Outcome, string Told)>();
        bool hasCut = true;
        for (int cut = 1; hasCut; cut++)
        {
            using var host = new TestHost();
            using var proxy = new CuttingProxy(host.Server.Address, cutsThere, cut);

            MigrationReport report = TestHost.Migrate(Web(), new Host(proxy.Address, s_key), plan, out MachineStatus here, out _);

            hasCut = proxy.HasCut;
            seen.Add((here == MachineStatus.Running, host.Server.Machines.Count == 1, report.Outcome,
                $"{cut}: {report.Reason}; {string.Join("; ", host.Told)}"));
        }

        Assert.That(seen.Where(end => end.Here == end.There), Is.Empty);
        Assert.That(seen.Where(end => end.There != (end.Outcome == MigrationOutcome.Completed)), Is.Empty);
        Assert.That(seen.Select(end => end.There).Distinct().Count(), Is.EqualTo(2), "it must have ended both ways");
    }

    /// <summary>After the destination has taken the machine, a cut loses it, until all of its pages are there: it runs on neither side, both
    /// say so, and till its end it has counted on as it should.</summary>
    [Test]
    public void Wherever_the_connection_is_cut_while_pages_follow_it_is_one_machine_or_none(
        [Values] bool cutsThere, [ValueSource(nameof(s_following))] Migration plan)
    {
        var seen = new HashSet<MigrationOutcome>();
        bool hasCut = true;
        for (int cut = 1; hasCut; cut++)
        {
            using var host = new TestHost();
            using var proxy = new CuttingProxy(host.Server.Address, cutsThere, cut, SlowWay);

            MigrationReport report =
                TestHost.Migrate(Web(pages: 64), new Host(proxy.Address, s_key), plan, out MachineStatus here, out string console);

            hasCut = proxy.HasCut;
            seen.Add(report.Outcome);
            string story = $"cut behind {cut}: {report}\n{string.Join('\n', host.Told)}";
            bool isThere = report.Outcome == MigrationOutcome.Completed, isLost = report.Outcome == MigrationOutcome.Lost;
            Assert.That(here, Is.EqualTo(isThere || isLost ? MachineStatus.Departed : MachineStatus.Running), story);
            Assert.That(report.Reason.Length > 0, Is.EqualTo(!isThere), story);
            char[] letters = [.. console.Where(letter => !char.IsWhiteSpace(letter))];
            Assert.That(letters, Is.EqualTo(host.LettersFrom('A', letters.Length)), story);
            if (isThere) Assert.That(host.NextLetters(4), Is.EqualTo(host.LettersFrom(letters[^1], 5)[1..]), story);
            else Assert.That(() => host.Server.Machines, Is.Empty.After(5).Seconds.PollEvery(10).MilliSeconds, story);
            if (!isLost) continue;
            Assert.That(host.Told, Has.Some.Match("^web is lost: .* never came\\.$"), story);
            Assert.That(host.Heard(), Is.EqualTo(host.LettersFrom(letters[^1], host.Letters.Count + 1)[1..]), story);
        }
        Assert.That(seen, Is.EquivalentTo(new[] { MigrationOutcome.Failed, MigrationOutcome.Lost, MigrationOutcome.Completed }));
    }

    [Test]
    public void A_host_may_be_closed_at_any_moment_of_a_migration()
    {
        var seen = new HashSet<(MachineStatus, MigrationOutcome)>();
        for (int delay = 0; delay < 40; delay++)
        {
            using var host = new TestHost();
            HostServer server = host.Server;
            var closing = new Thread(() =>
            {
                Thread.Sleep(delay);
                server.Dispose();
            });
            closing.Start();
            try
            {
                MigrationReport report = TestHost.Migrate(Web(), new Host(server.Address, s_key), s_plan, out MachineStatus here, out _);
                seen.Add((here, report.Outcome));
            }
            catch (HostUnreachableException)
            {
                // It was closed before the migration began.
            }
            closing.Join();
            Assert.That(server.Machines, Is.Empty);
        }
        Assert.That(seen, Is.SubsetOf(new[]
        {
            (MachineStatus.Running, MigrationOutcome.Failed), (MachineStatus.Departed, MigrationOutcome.Completed),
        }));
    }

    /// <summary>Prints the next letter every so many rounds, each of which writes that to another page, and an exclamation mark once a page holds
    /// another one.</summary>
    /// <param name="pages">A power of two, to 256.</param>
    static void Counts(Assembler asm, int pages = 256)
    {
        const int Region = 0x20_0000;
        Label line = asm.CreateLabel(), round = asm.CreateLabel(), keeps = asm.CreateLabel(), look = asm.CreateLabel(), isRight = asm.CreateLabel();
        int mask = Region + pages * 4096 - 1;
        asm.xor(esi, esi);
        asm.mov(ebx, 'A');
        asm.Label(ref line);
        asm.mov(eax, ebx);
        asm.mov(ecx, pages);
        asm.mov(edi, Region);
        asm.Label(ref look);
        asm.cmp(__dword_ptr[rdi], esi);
        asm.je(isRight);
        asm.mov(eax, '!');
        asm.Label(ref isRight);
        asm.add(edi, 4096);
        asm.dec(ecx);
        asm.jnz(look);
        asm.mov(dx, Serial);
        asm.@out(dx, al);
        asm.mov(al, (byte)'\n');
        asm.@out(dx, al);
        asm.mov(esi, ebx);
        asm.inc(ebx);
        asm.cmp(ebx, 'Z' + 1);
        asm.jne(keeps);
        asm.mov(ebx, 'A');
        asm.Label(ref keeps);
        asm.mov(ecx, Rounds);
        asm.mov(edi, Region);
        asm.Label(ref round);
        asm.mov(__dword_ptr[rdi], esi);
        asm.add(edi, 4096);
        asm.and(edi, mask);
        asm.dec(ecx);
        asm.jnz(round);
        asm.jmp(line);
    }

    /// <summary>A host, and what its machines print.</summary>
    sealed class TestHost(ByteSize? memory = null) : IDisposable
    {
        readonly BlockingCollection<string> _letters = [];

        public HostServer Server => field ??= new HostServer(new DnsEndPoint("127.0.0.1", 0), s_key, memory ?? 1.GiB, Hear);

        public ConcurrentQueue<string> Told { get; } = [];

        public List<char> Letters { get; } = [];

        public char LastHere { get; private set; }

        public MigrationReport Migrate(Fleet fleet, Migration plan, out MachineStatus here)
        {
            MigrationReport report = Migrate(fleet, new Host(Server.Address, s_key), plan, out here, out string console);
            LastHere = console[^1];
            return report;
        }

        public static MigrationReport Migrate(Fleet fleet, Host to, Migration plan, out MachineStatus here, out string console)
        {
            MigrationReport? report = null;
            (MachineStatus Status, string Console) end = (default, "");
            Pump.Run(async () =>
            {
                await using Lab lab = await Lab.StartAsync(fleet, new LabOptions());
                await lab.RunFor(2.Milliseconds);
                report = await lab.Migrate(new VmRef(fleet.Machines[0].Name), to, plan);
                end = (lab.Machines[0].Status, lab.Machines[0].Console.Text.Trim());
            });
            (here, console) = end;
            return report!;
        }

        public IEnumerable<char> NextLetters(int count)
        {
            for (int i = 0; i < count; i++) Letters.Add(_letters.TryTake(out string? line, 30_000) ? line[^1] : '?');
            return Letters.TakeLast(count);
        }

        /// <summary>All letters that have come by now.</summary>
        public IEnumerable<char> Heard()
        {
            while (_letters.TryTake(out string? line)) Letters.Add(line[^1]);
            return Letters;
        }

        public char[] LettersFrom(char first, int count) => [.. Enumerable.Range(0, count).Select(i => (char)('A' + (first - 'A' + i) % 26))];

        public void Dispose() => Server.Dispose();

        void Hear(string what)
        {
            Told.Enqueue(what);
            if (what.Contains(" | ")) _letters.Add(what);
        }
    }
}
