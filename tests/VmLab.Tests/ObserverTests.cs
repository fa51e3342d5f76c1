using VmLab.Core;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

public sealed class ObserverTests
{
    [Test]
    public void An_observer_is_told_of_a_labs_life_in_order()
    {
        var observer = new Recorder();

        Run(One(alice => alice.At(1.Milliseconds, () => alice.Prints("x"))), async lab =>
        {
            await lab.RunFor(15.Milliseconds);
            lab.Note("half way");
        }, new LabOptions { Observer = observer });

        Assert.That(observer.Told, Is.EqualTo(new[]
        {
            "started", "alice powered on", "advanced to 10", "advanced to 15", " half way", "closed",
        }));
    }

    [Test]
    public void A_quantum_that_does_not_end_is_reported_as_the_hosts_trouble()
    {
        var observer = new Recorder();

        void Stall() => Run(One(alice => alice.At(1.Milliseconds, () => observer.HasStalled.Wait(TimeSpan.FromMinutes(1)))),
            lab => lab.RunFor(10.Milliseconds),
            new LabOptions { Observer = observer, Patience = TimeSpan.FromMilliseconds(20) });

        Assert.That(Stall, Throws.TypeOf<InfrastructureException>().With.Message.StartsWith("Lab \"one\" has been in one quantum for 0.02 s of host time"));
        Assert.That(observer.StallReport, Does.StartWith("Lab \"one\" has been in one quantum for 0.02 s of host time"));
    }

    sealed class Recorder : ILabObserver
    {
        public List<string> Told { get; } = [];
        public ManualResetEventSlim HasStalled { get; } = new();
        public string? StallReport { get; private set; }

        public void Started(Lab lab) => Told.Add("started");
        public void Preparing(Lab lab, string what) => Told.Add(what);
        public void Happened(Lab lab, TimelineEvent what) => Told.Add($"{what.Machine} {what.What}");
        public void Advanced(Lab lab) => Told.Add($"advanced to {lab.Now.TotalMilliseconds}");
        public void Closed(Lab lab) => Told.Add("closed");

        public void Stalled(Lab lab, string report)
        {
            StallReport = report;
            HasStalled.Set();
        }
    }
}
