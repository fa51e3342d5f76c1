using VmLab.Core;
using VmLab.Testing;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

/// <summary>
/// The attribute under test marks these tests: SetUp, test and TearDown must share one pump and its thread.
/// </summary>
public sealed class LabTestTests
{
    readonly List<(Pump? Pump, int Thread)> _places = [];
    Lab? _lab;

    [SetUp]
    public async Task SetUp()
    {
        _places.Clear();
        Note();
        await Task.Yield();
        Note();
        _lab = await Lab.StartAsync(One(_ => { }), null, ScriptedMachine.PowerOn);
        await _lab.RunFor(1.Seconds);
        Note();
    }

    [TearDown]
    public async Task TearDown()
    {
        Note();
        await _lab!.RunFor(1.Seconds);
        Note();
        Assert.That(_places.Select(place => place.Thread).Distinct().Count(), Is.EqualTo(1));
        Assert.That(_places.Select(place => place.Pump).Distinct().Single(), Is.Not.Null);
    }

    [LabTest]
    public async Task Every_continuation_of_test_SetUp_and_TearDown_is_on_one_pump()
    {
        Note();
        await _lab!.RunFor(1.Seconds);
        Note();
        await Task.Run(() => { });
        Note();

        Assert.That(_places, Has.Count.EqualTo(6));
    }

    [LabTest]
    public void A_test_that_awaits_nothing_still_has_its_pump()
    {
        Note();

        Assert.That(_places[^1], Is.EqualTo(_places[0]));
    }

    void Note() => _places.Add((Pump.Current, Environment.CurrentManagedThreadId));
}
