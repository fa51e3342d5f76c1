using VmLab.Core;
using VmLab.Reporting;
using VmLab.Tests.Networks;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

/// <summary>Quanta in which every machine sleeps are left out, and nothing shows it.</summary>
public sealed class IdleTests
{
    [Test]
    public void An_hour_of_sleep_costs_no_more_quanta_than_there_are_things_to_do()
    {
        var counter = new QuantumCounter();
        Fleet fleet = Pair(alice =>
        {
            alice.At(10.Minutes, () => alice.Sends(TestFrames.From(1, TestFrames.Card(2))));
            alice.At(50.Minutes, () => alice.Prints("done"));
        }, bob => bob.OnFrame = _ => bob.Prints($"{bob.Now}"));

        Run(fleet, async lab =>
        {
            await lab.RunFor(60.Minutes);

            Assert.That(lab[Alice].Console.Text + lab[Bob].Console.Text, Is.EqualTo($"done{600_000_000_000 + 672 + 100_000}"));
            Assert.That(lab[Alice].Now, Is.EqualTo(60.Minutes));
        }, new LabOptions { Observer = counter });

        Assert.That(counter.Quanta, Is.InRange(3, 10));
    }

    [Test]
    public void Consoles_timelines_and_hashes_are_the_same_with_nothing_left_out() => Assert.That(
        Record(lab => lab.Always("every quantum's end is looked at", () => true)), Is.EqualTo(Record(_ => { })));

    [Test]
    public void A_report_has_the_same_load_however_often_the_lab_looked()
    {
        LoadTrack often = new(3_000_000), seldom = new(3_000_000);
        for (ulong time = 3_100_000; time <= 104_000_000; time += 100_000) often.Add(time, time <= 18_000_000 ? 50_000UL : 0);
        seldom.Add(18_000_000, 150 * 50_000);
        seldom.Add(104_000_000, 0);

        Assert.That(seldom.Pieces.Select(Rounded), Is.EqualTo(often.Pieces.Select(Rounded)));
        Assert.That(often.Pieces.Select(Rounded), Is.EqualTo(new[] { (10_000_000, 0.5), (20_000_000, 0.4), (100_000_000, 0.0) }));

        static (ulong, double) Rounded(LoadTrack.Piece piece) => (piece.End, Math.Round(piece.Load, 6));
    }

    [Test]
    public void A_condition_of_time_is_asked_at_every_quantums_end() => Run(Pair(_ => { }, _ => { }), async lab =>
    {
        int asked = 0;
        await lab.Until(() => ++asked > 0 && lab.Now >= 1.Seconds);

        Assert.That((lab.Now, asked), Is.EqualTo((1.Seconds, 10_001)));
    });

    /// <summary>All that a script can see of two machines that talk now and then.</summary>
    static string Record(Action<Lab> prepare)
    {
        string record = "";
        Run(Pair(alice => Talk(alice, 1), bob => Talk(bob, 2)), async lab =>
        {
            prepare(lab);
            lab.Inject(Fault.Link(new LinkRef("lan")).Loss(0.3).At(200.Milliseconds).For(300.Milliseconds));
            for (int i = 0; i < 5; i++)
            {
                await lab.RunFor(123.Milliseconds);
                lab[Bob].Console.Send($"line {i}\n");
                await lab[Alice].Console.Expect("!");
                record += $"{lab.Now} {lab.StateHash():x16} {lab[Alice].Console.Text} {lab[Bob].Console.Text}\n";
            }
            record += string.Join('\n', lab.Timeline);
        });
        return record;
    }

    // Asks the other now and then, and answers what it is asked.
    static void Talk(ScriptedMachine machine, int number)
    {
        const byte Question = 1, Answer = 2;
        void Send(byte what) => machine.Sends(TestFrames.From(number, TestFrames.Card(3 - number), value: what));
        machine.OnFrame = frame =>
        {
            machine.Prints(frame[^1] == Question ? "?" : "!");
            if (frame[^1] == Question) Send(Answer);
        };
        ulong time = 0;
        for (int i = 0; i < 100; i++)
        {
            time += machine.Random.NextBelow(50_000_000);
            machine.At(time, () => Send(Question));
        }
    }

    static Fleet Pair(Action<ScriptedMachine> alice, Action<ScriptedMachine> bob) =>
        Two(alice, bob).Lan("lan", out _, [Alice, Bob], link => link.Latency(100.Microseconds));

    sealed class QuantumCounter : ILabObserver
    {
        public int Quanta { get; private set; }

        public void Started(Lab lab) { }
        public void Preparing(Lab lab, string what) { }
        public void Happened(Lab lab, TimelineEvent what) { }
        public void Advanced(Lab lab) => Quanta++;
        public void Stalled(Lab lab, string report) { }
        public void Closed(Lab lab) { }
    }
}
