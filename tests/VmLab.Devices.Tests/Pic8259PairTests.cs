using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

public sealed class Pic8259PairTests
{
    const uint End = 0x20;

    readonly Pic8259Pair _pic = NewInitialized();

    [Test]
    public void Rising_input_asks_and_is_taken_into_service()
    {
        _pic.SetInput(4, true);
        Assert.That(_pic.IsRequested, Is.True);

        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x34));
        Assert.That(_pic.IsRequested, Is.False);
        Assert.That(ReadInService(_pic.Master), Is.EqualTo(0x10));

        Command(_pic.Master, End);
        Assert.That(ReadInService(_pic.Master), Is.Zero);
        Assert.That(_pic.IsRequested, Is.False, "a held edge asks only once");
    }

    [Test]
    public void Input_that_falls_before_it_is_taken_asks_no_more()
    {
        _pic.SetInput(4, true);
        _pic.SetInput(4, false);
        Assert.That(_pic.IsRequested, Is.False);
    }

    [Test]
    public void Spurious_interrupt_is_input_7_with_nothing_in_service()
    {
        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x37));
        Assert.That(ReadInService(_pic.Master), Is.Zero);
    }

    [Test]
    public void Slave_asks_through_the_master()
    {
        _pic.SetInput(12, true);

        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x3C));
        Assert.That((ReadInService(_pic.Master), ReadInService(_pic.Slave)), Is.EqualTo((0x04, 0x10)));
    }

    [Test]
    public void Second_request_of_the_slave_follows_the_end_of_the_first()
    {
        _pic.SetInput(8, true);
        _pic.SetInput(12, true);
        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x38));
        Assert.That(_pic.IsRequested, Is.False);

        Command(_pic.Slave, End);
        Command(_pic.Master, End);

        Assert.That(_pic.IsRequested, Is.True);
        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x3C));
    }

    [Test]
    public void Request_that_the_slave_withdraws_is_gone()
    {
        _pic.SetInput(8, true);
        Mask(_pic.Slave, 0xFF);
        Assert.That(_pic.IsRequested, Is.False);
    }

    [Test]
    public void Higher_priority_nests_and_lower_waits()
    {
        _pic.SetInput(4, true);
        _pic.Acknowledge();

        _pic.SetInput(5, true);
        Assert.That(_pic.IsRequested, Is.False);
        _pic.SetInput(3, true);
        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x33));
    }

    [Test]
    public void Masked_input_waits_for_its_mask_to_open()
    {
        Mask(_pic.Master, 0x10);
        _pic.SetInput(4, true);
        Assert.That(_pic.IsRequested, Is.False);
        Assert.That(_pic.Master.Read(0, 1), Is.EqualTo(0x10), "the request register shows it");

        Mask(_pic.Master, 0x00);
        Assert.That(_pic.IsRequested, Is.True);
    }

    [Test]
    public void Level_triggered_input_asks_as_long_as_it_is_high()
    {
        _pic.TriggerControl.Write(1, 1, 0x08);
        _pic.SetInput(11, true);
        _pic.Acknowledge();
        Command(_pic.Slave, End);
        Command(_pic.Master, End);
        Assert.That(_pic.IsRequested, Is.True);

        _pic.SetInput(11, false);
        Assert.That(_pic.IsRequested, Is.False);
    }

    [Test]
    public void Some_inputs_stay_edge_triggered()
    {
        _pic.TriggerControl.Write(0, 2, 0xFFFF);
        Assert.That(_pic.TriggerControl.Read(0, 2), Is.EqualTo(0xDEF8));
    }

    [Test]
    public void Automatic_end_leaves_nothing_in_service()
    {
        Initialize(_pic.Master, 0x30, icw4: 0x03);
        _pic.SetInput(4, true);
        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x34));
        Assert.That(ReadInService(_pic.Master), Is.Zero);
    }

    [Test]
    public void Automatic_end_of_the_slave_lets_the_next_request_through()
    {
        Initialize(_pic.Slave, 0x38, icw4: 0x03);
        _pic.SetInput(8, true);
        _pic.SetInput(9, true);
        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x38));
        Command(_pic.Master, End);
        Assert.That(_pic.IsRequested, Is.True);
        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x39));
    }

    [Test]
    public void Rotating_end_makes_the_served_input_the_last()
    {
        _pic.SetInput(4, true);
        _pic.Acknowledge();
        Command(_pic.Master, 0xA0);

        _pic.SetInput(3, true);
        _pic.SetInput(5, true);
        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x35));
    }

    [Test]
    public void Set_priority_names_the_last_input()
    {
        Command(_pic.Master, 0xC5);
        _pic.SetInput(0, true);
        _pic.SetInput(6, true);
        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x36));
    }

    [Test]
    public void Specific_end_ends_the_named_input()
    {
        _pic.SetInput(4, true);
        _pic.Acknowledge();
        _pic.SetInput(3, true);
        _pic.Acknowledge();
        Command(_pic.Master, 0x64);
        Assert.That(ReadInService(_pic.Master), Is.EqualTo(0x08));
    }

    [Test]
    public void Special_mask_lets_inferiors_through_a_masked_service()
    {
        _pic.SetInput(4, true);
        _pic.Acknowledge();
        _pic.SetInput(6, true);

        Command(_pic.Master, 0x68);
        Mask(_pic.Master, 0x10);

        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x36));
    }

    [Test]
    public void Poll_acknowledges_by_reading()
    {
        _pic.SetInput(4, true);
        Command(_pic.Master, 0x0C);
        Assert.That(_pic.Master.Read(0, 1), Is.EqualTo(0x84));
        Assert.That(ReadInService(_pic.Master), Is.EqualTo(0x10));

        Command(_pic.Master, 0x0C);
        Assert.That(_pic.Master.Read(0, 1), Is.Zero);
    }

    [Test]
    public void Initialization_forgets_edges_masks_and_services()
    {
        _pic.SetInput(4, true);
        Mask(_pic.Master, 0xFF);
        Initialize(_pic.Master, 0x30, icw4: 0x01);
        Assert.That((_pic.IsRequested, _pic.Master.Read(1, 1)), Is.EqualTo((false, 0u)));
    }

    [Test]
    public void Restored_pair_behaves_as_the_saved_one() => Laws.RestoredBehavesAsSaved(NewBench, Poke.Wild(5, 6, 1));

    [Test]
    public void Bears_anything() => Laws.BearsAnything(NewBench, Poke.Wild(5, 300, 1, 2, 4));

    static Pic8259Pair NewInitialized()
    {
        var pic = new Pic8259Pair();
        Initialize(pic.Master, 0x30, icw4: 0x01);
        Initialize(pic.Slave, 0x38, icw4: 0x01);
        return pic;
    }

    static void Initialize(IPortDevice chip, uint firstVector, uint icw4)
    {
        chip.Write(0, 1, 0x11);
        chip.Write(1, 1, firstVector);
        chip.Write(1, 1, 4);
        chip.Write(1, 1, icw4);
    }

    static void Command(IPortDevice chip, uint command) => chip.Write(0, 1, command);
    static void Mask(IPortDevice chip, uint mask) => chip.Write(1, 1, mask);

    static int ReadInService(IPortDevice chip)
    {
        Command(chip, 0x0B);
        int value = (int)chip.Read(0, 1);
        Command(chip, 0x0A);
        return value;
    }

    static Bench<Pic8259Pair.State> NewBench()
    {
        Pic8259Pair pic = NewInitialized();
        return new(pic, new VirtualClock(), Act, () => [pic.IsRequested ? 1UL : 0]);

        ulong Act(Poke poke)
        {
            IPortDevice[] ports = [pic.Master, pic.Slave, pic.TriggerControl];
            IPortDevice port = ports[poke.Offset / 2 % 3];
            int offset = poke.Offset < 6 ? poke.Offset % 2 : poke.Offset;
            if (poke.Kind == Poke.Read) return port.Read(offset, poke.Width);
            if (poke.Kind == 3) pic.SetInput((int)(poke.Value >> 1 & 15), (poke.Value & 1) != 0);
            else if (poke.Kind == 4) return pic.Acknowledge();
            else port.Write(offset, poke.Width, (uint)poke.Value);
            return 0;
        }
    }
}
