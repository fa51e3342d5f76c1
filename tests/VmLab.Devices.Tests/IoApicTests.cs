using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

public sealed class IoApicTests
{
    const uint Level = 0x8000, Masked = 0x10000;

    readonly ApicBus _bus = new();
    readonly LocalApic _local;
    readonly IoApic _io;

    public IoApicTests()
    {
        _local = new LocalApic(0, new VirtualClock(), _bus, null);
        _local.Write(0xF0, 4, 0x1FF);
        _io = new IoApic(_bus);
    }

    [Test]
    public void Version_names_24_pins() => Assert.That(ReadRegister(1), Is.EqualTo(0x00170020));

    [Test]
    public void Entries_are_masked_after_power_on()
    {
        Assert.That((ReadRegister(0x10), ReadRegister(0x3E)), Is.EqualTo((Masked, Masked)));
        _io.SetPin(4, true);
        Assert.That(_local.IsRequested, Is.False);
    }

    [Test]
    public void Edge_triggered_pin_asks_once_a_rise()
    {
        SetEntry(4, 0x41);
        _io.SetPin(4, true);
        Assert.That(_local.Acknowledge(), Is.EqualTo(0x41));
        End();
        Assert.That(_local.IsRequested, Is.False);

        _io.SetPin(4, false);
        _io.SetPin(4, true);
        Assert.That(_local.IsRequested, Is.True);
    }

    [Test]
    public void Level_triggered_pin_asks_again_after_each_end_while_high()
    {
        SetEntry(11, 0x51 | Level);
        _io.SetPin(11, true);
        Assert.That(ReadRegister(0x10 + 22) & 0x4000, Is.EqualTo(0x4000), "remote IRR");
        _local.Acknowledge();
        End();
        Assert.That(_local.IsRequested, Is.True);

        _local.Acknowledge();
        _io.SetPin(11, false);
        End();
        Assert.That((_local.IsRequested, ReadRegister(0x10 + 22) & 0x4000), Is.EqualTo((false, 0u)));
    }

    [Test]
    public void Opening_the_mask_of_a_high_level_triggered_pin_asks()
    {
        SetEntry(11, 0x51 | Level | Masked);
        _io.SetPin(11, true);
        Assert.That(_local.IsRequested, Is.False);
        SetEntry(11, 0x51 | Level);
        Assert.That(_local.IsRequested, Is.True);
    }

    [Test]
    public void End_register_ends_by_vector()
    {
        SetEntry(11, 0x51 | Level);
        _io.SetPin(11, true);
        _io.SetPin(11, false);
        _io.Write(0x40, 4, 0x51);
        Assert.That(ReadRegister(0x10 + 22) & 0x4000, Is.Zero);
    }

    [Test]
    public void Becoming_edge_triggered_clears_remote_irr()
    {
        SetEntry(11, 0x51 | Level);
        _io.SetPin(11, true);
        SetEntry(11, 0x51 | Masked);
        Assert.That(ReadRegister(0x10 + 22) & 0x4000, Is.Zero);
    }

    [Test]
    public void Destination_names_the_apic()
    {
        _io.Write(0, 4, 0x10 + 9);
        _io.Write(0x10, 4, 0x05000000);
        SetEntry(4, 0x41);
        _io.SetPin(4, true);
        Assert.That((_local.IsRequested, ReadRegister(0x19)), Is.EqualTo((false, 0x05000000u)));
    }

    [Test]
    public void Identifier_keeps_four_bits()
    {
        _io.Write(0, 4, 0);
        _io.Write(0x10, 4, 0xFF000000);
        Assert.That(ReadRegister(0), Is.EqualTo(0x0F000000));
    }

    [Test]
    public void Restored_io_apic_behaves_as_the_saved_one() =>
        Laws.RestoredBehavesAsSaved(NewBench, Poke.Wild(6, 3, 4));

    [Test]
    public void Bears_anything() => Laws.BearsAnything(NewBench, Poke.Wild(6, 20, 1, 2, 4, 8));

    uint ReadRegister(uint index)
    {
        _io.Write(0, 4, index);
        return (uint)_io.Read(0x10, 4);
    }

    void SetEntry(uint pin, uint low)
    {
        _io.Write(0, 4, 0x10 + 2 * pin);
        _io.Write(0x10, 4, low);
    }

    void End() => _local.Write(0xB0, 4, 0);

    static Bench<(LocalApic.State, IoApic.State)> NewBench()
    {
        var bus = new ApicBus();
        var clock = new VirtualClock();
        var local = new LocalApic(0, clock, bus, null);
        var io = new IoApic(bus);
        local.Write(0xF0, 4, 0x1FF);
        return new(new Both(local, io), clock, Act, () => [local.IsRequested ? 1UL : 0]);

        ulong Act(Poke poke)
        {
            ulong offset = poke.Offset switch { < 3 => (ulong)poke.Offset * 0x10, var other => poke.Value >> other };
            switch (poke.Kind)
            {
                case Poke.Read: return io.Read(offset, poke.Width);
                case Poke.Write: io.Write(offset, poke.Width, poke.Value); break;
                case 3: io.SetPin((int)(poke.Value >> 1 & 0xFF) % 24, (poke.Value & 1) != 0); break;
                case 4: return local.IsRequested ? local.Acknowledge() : 0UL;
                default: local.Write(0xB0, 4, 0); break;
            }
            return 0;
        }
    }

    sealed class Both(LocalApic local, IoApic io) : ISnapshot<(LocalApic.State, IoApic.State)>
    {
        public (LocalApic.State, IoApic.State) Save() => (local.Save(), io.Save());

        public void Restore((LocalApic.State, IoApic.State) state)
        {
            local.Restore(state.Item1);
            io.Restore(state.Item2);
        }
    }
}
