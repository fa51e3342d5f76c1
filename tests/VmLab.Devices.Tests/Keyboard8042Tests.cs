using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

public sealed class Keyboard8042Tests
{
    readonly IrqLine _irq = new();
    readonly Keyboard8042 _controller;
    int _resets;

    public Keyboard8042Tests() => _controller = new Keyboard8042(_irq, () => _resets++);

    [TestCase(0xAA, 0x55, TestName = "Self_test_passes")]
    [TestCase(0xAB, 0x00, TestName = "Keyboard_wires_test_well")]
    [TestCase(0xA9, 0x01, TestName = "Mouse_wires_do_not")]
    [TestCase(0xC0, 0x80, TestName = "Keyboard_is_not_locked")]
    [TestCase(0xD0, 0x03, TestName = "Output_port_holds_reset_high_and_A20_open")]
    public void Answers(int command, int answer)
    {
        Command((byte)command);
        Assert.That((Status & 1, Data), Is.EqualTo((1, answer)));
        Assert.That(Status & 1, Is.Zero, "read once");
    }

    [Test]
    public void Command_byte_is_written_and_read_but_for_the_absent_mouse()
    {
        Command(0x60);
        Write(0x40);
        Command(0x20);
        Assert.That(Data, Is.EqualTo(0x60));
    }

    [Test]
    public void Keyboard_is_switched_off_and_on_by_its_bit()
    {
        Command(0xAD);
        Command(0x20);
        Assert.That(Data & 0x10, Is.EqualTo(0x10));
        Command(0xAE);
        Command(0x20);
        Assert.That(Data & 0x10, Is.Zero);
    }

    [Test]
    public void Byte_to_the_absent_keyboard_times_out_at_once()
    {
        Write(0xF2);
        Assert.That((Status & 0x41, _irq.IsHigh), Is.EqualTo((0x41, true)));
        Assert.That((Data, Status & 0x41, _irq.IsHigh), Is.EqualTo((0xFE, 0, false)));
    }

    [Test]
    public void Mouse_loop_does_not_echo()
    {
        Command(0xD3);
        Write(0x5A);
        Assert.That(Data, Is.Not.EqualTo(0x5A));
    }

    [Test]
    public void Keyboard_loop_echoes()
    {
        Command(0xD2);
        Write(0x5A);
        Assert.That(Data, Is.EqualTo(0x5A));
    }

    [Test]
    public void Interrupt_needs_its_enable()
    {
        Command(0x60);
        Write(0x00);
        Command(0xAA);
        Assert.That(_irq.IsHigh, Is.False);
    }

    [Test]
    public void Pulse_of_line_zero_resets()
    {
        Command(0xFF);
        Assert.That(_resets, Is.Zero);
        Command(0xFE);
        Assert.That(_resets, Is.EqualTo(1));
    }

    [Test]
    public void Output_port_with_reset_low_resets()
    {
        Command(0xD1);
        Write(0x02);
        Assert.That(_resets, Is.EqualTo(1));
    }

    [Test]
    public void Restored_controller_behaves_as_the_saved_one() =>
        Laws.RestoredBehavesAsSaved(NewBench, Poke.Wild(4, 2, 1));

    [Test]
    public void Bears_anything() => Laws.BearsAnything(NewBench, Poke.Wild(4, 300, 1, 2, 4));

    int Status => (int)_controller.CommandPort.Read(0, 1);
    int Data => (int)_controller.DataPort.Read(0, 1);
    void Command(byte value) => _controller.CommandPort.Write(0, 1, value);
    void Write(byte value) => _controller.DataPort.Write(0, 1, value);

    static Bench<Keyboard8042.State> NewBench()
    {
        var irq = new IrqLine();
        ulong resets = 0;
        var controller = new Keyboard8042(irq, () => resets++);
        return new(controller, new VirtualClock(), Act, () => [irq.IsHigh ? 1UL : 0]);

        ulong Act(Poke poke)
        {
            resets = 0;
            IPortDevice port = poke.Offset % 2 == 0 ? controller.DataPort : controller.CommandPort;
            if (poke.Kind == Poke.Read) return port.Read(poke.Offset / 2, poke.Width);
            uint value = (uint)poke.Value | (poke.Kind == 3 ? 0xA0U : 0);
            port.Write(poke.Offset / 2, poke.Width, value);
            return resets;
        }
    }
}
