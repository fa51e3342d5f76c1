using CsCheck;
using VmLab.Core;

namespace VmLab.Devices.Tests;

public sealed class Uart16550Tests
{
    const int Data = 0, InterruptEnable = 1, InterruptId = 2, FifoControl = 2, LineControl = 3, ModemControl = 4,
              LineStatus = 5, ModemStatus = 6;
    const byte Out2 = 0x08, Loopback = 0x10;

    readonly IrqLine _irq = new();
    readonly List<byte> _sent = [];
    readonly Uart16550 _uart;

    public Uart16550Tests()
    {
        _uart = new Uart16550(_irq, _sent.Add);
        _uart.Write(ModemControl, Out2);
    }

    [Test]
    public void Received_byte_raises_the_line_until_it_is_read()
    {
        _uart.Write(InterruptEnable, 0x01);
        Assert.That(_irq.IsHigh, Is.False);

        _uart.Receive((byte)'A');
        Assert.That(_irq.IsHigh, Is.True);

        Assert.That(_uart.Read(Data), Is.EqualTo((byte)'A'));
        Assert.That(_irq.IsHigh, Is.False);
    }

    [Test]
    public void Line_stays_low_while_out2_is_off()
    {
        _uart.Write(ModemControl, 0);
        _uart.Write(InterruptEnable, 0x01);
        _uart.Receive(1);
        Assert.That(_irq.IsHigh, Is.False);

        _uart.Write(ModemControl, Out2);
        Assert.That(_irq.IsHigh, Is.True);
    }

    [Test]
    public void Enabling_the_sent_interrupt_raises_it_every_time()
    {
        for (int i = 0; i < 2; i++)
        {
            _uart.Write(InterruptEnable, 0x02);
            Assert.That(_irq.IsHigh, Is.True);
            Assert.That(_uart.Read(InterruptId), Is.EqualTo(0x02), "sender empty");
            Assert.That(_uart.Read(InterruptId), Is.EqualTo(0x01), "acknowledged by the read");
            Assert.That(_irq.IsHigh, Is.False);
            _uart.Write(InterruptEnable, 0x00);
        }
    }

    [Test]
    public void Each_sent_byte_raises_the_sent_interrupt_again()
    {
        _uart.Write(InterruptEnable, 0x02);
        _uart.Read(InterruptId);

        _uart.Write(Data, (byte)'x');

        Assert.That(_sent, Is.EqualTo("x"u8.ToArray()));
        Assert.That(_irq.IsHigh, Is.True);
        Assert.That(_uart.Read(LineStatus), Is.EqualTo(0x60), "holding register and sender are empty at once");
    }

    [Test]
    public void Causes_are_reported_in_order_of_priority()
    {
        _uart.Write(InterruptEnable, 0x0F);
        _uart.Receive(1);
        _uart.Receive(2);   // one place only while the FIFOs are off
        _uart.Write(ModemControl, Loopback);
        _uart.Write(ModemControl, Out2);

        Assert.That(_uart.Read(InterruptId), Is.EqualTo(0x06), "line status");
        Assert.That(_uart.Read(LineStatus), Is.EqualTo(0x63), "overrun and data ready");
        Assert.That(_uart.Read(InterruptId), Is.EqualTo(0x04), "received data");
        _uart.Read(Data);
        Assert.That(_uart.Read(InterruptId), Is.EqualTo(0x02), "sender empty");
        Assert.That(_uart.Read(InterruptId), Is.EqualTo(0x00), "modem status");
        Assert.That(_uart.Read(ModemStatus) & 0x0F, Is.Not.Zero);
        Assert.That(_uart.Read(InterruptId), Is.EqualTo(0x01), "none");
    }

    [Test]
    public void Fifo_bits_of_the_interrupt_id_tell_a_16550a()
    {
        Assert.That(_uart.Read(InterruptId) & 0xC0, Is.Zero);
        _uart.Write(FifoControl, 0x01);
        Assert.That(_uart.Read(InterruptId) & 0xC0, Is.EqualTo(0xC0));
    }

    [Test]
    public void Fifo_keeps_sixteen_bytes_in_order_and_reports_the_seventeenth_lost()
    {
        _uart.Write(FifoControl, 0x01);
        for (byte i = 0; i < 16; i++) _uart.Receive(i);
        Assert.That(_uart.HasRoom, Is.False);

        _uart.Receive(99);

        Assert.That(_uart.Read(LineStatus) & 0x02, Is.EqualTo(0x02));
        IEnumerable<byte> read = Enumerable.Range(0, 17).Select(_ => _uart.Read(Data));
        Assert.That(read, Is.EqualTo(Enumerable.Range(0, 16).Append(0)));
    }

    [Test]
    public void Clearing_the_fifo_empties_it()
    {
        _uart.Write(FifoControl, 0x01);
        _uart.Receive(1);
        _uart.Write(FifoControl, 0x03);
        Assert.That(_uart.Read(LineStatus) & 0x01, Is.Zero);
    }

    [Test]
    public void Room_is_announced_once_a_full_receiver_is_read()
    {
        int announced = 0;
        _uart.RoomAppeared = () => announced++;
        _uart.Receive(1);

        _uart.Read(Data);
        _uart.Read(Data);

        Assert.That(announced, Is.EqualTo(1));
    }

    [Test]
    public void Loopback_returns_modem_outputs_as_inputs()
    {
        _uart.Write(ModemControl, Loopback | Out2 | 0x02);
        Assert.That(_uart.Read(ModemStatus) & 0xF0, Is.EqualTo(0x90), "DCD and CTS, as Linux's probe expects");

        _uart.Write(ModemControl, Out2);
        Assert.That(_uart.Read(ModemStatus) & 0xF0, Is.EqualTo(0xB0));
    }

    [Test]
    public void Loopback_returns_sent_bytes_and_cuts_the_outside_off()
    {
        _uart.Write(ModemControl, Loopback);
        Assert.That(_uart.HasRoom, Is.False);

        _uart.Receive(1);
        _uart.Write(Data, 2);

        Assert.That(_uart.Read(Data), Is.EqualTo(2));
        Assert.That(_sent, Is.Empty);
    }

    [Test]
    public void Divisor_latch_covers_data_and_interrupt_enable()
    {
        _uart.Write(LineControl, 0x83);
        _uart.Write(Data, 0x34);
        _uart.Write(InterruptEnable, 0x12);
        Assert.That((_uart.Read(Data), _uart.Read(InterruptEnable)), Is.EqualTo((0x34, 0x12)));
        Assert.That(_sent, Is.Empty);

        _uart.Write(LineControl, 0x03);
        Assert.That(_uart.Read(InterruptEnable), Is.Zero);
    }

    [Test]
    public void Interrupt_enable_keeps_only_the_four_bits_of_a_16550a()
    {
        _uart.Write(InterruptEnable, 0xFF);
        Assert.That(_uart.Read(InterruptEnable), Is.EqualTo(0x0F));
    }

    [Test]
    public void Restored_uart_behaves_as_the_saved_one() => Laws.RestoredBehavesAsSaved(NewBench, Poke.Wild(4, 8, 1));

    [Test]
    public void Bears_anything() => Laws.BearsAnything(NewBench, Poke.Wild(4, 300, 1, 2, 4));

    static Bench<Uart16550.State> NewBench()
    {
        var irq = new IrqLine();
        ulong sent = 0;
        var uart = new Uart16550(irq, value => sent = value);
        IPortDevice port = uart;
        return new(uart, new VirtualClock(), Act, () => [irq.IsHigh ? 1UL : 0, uart.HasRoom ? 1UL : 0]);

        ulong Act(Poke poke)
        {
            sent = 0x100;
            if (poke.Kind == Poke.Read) return port.Read(poke.Offset, poke.Width);
            if (poke.Kind == Poke.Write) port.Write(poke.Offset, poke.Width, (uint)poke.Value);
            else uart.Receive((byte)poke.Value);
            return sent;
        }
    }
}
