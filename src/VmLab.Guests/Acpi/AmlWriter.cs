using System.Buffers.Binary;
using System.Text;

namespace VmLab.Guests.Acpi;

/// <summary>Writes ACPI machine language, a term at a time; a scope or package takes what its contents wrote.</summary>
/// <remarks>Source: ACPI 6.4, §20.2 "AML Grammar Definition", §6.1.5 (EISA identifiers).</remarks>
sealed class AmlWriter
{
    const byte NameOp = 0x08, BytePrefix = 0x0A, WordPrefix = 0x0B, DWordPrefix = 0x0C, ScopeOp = 0x10, BufferOp = 0x11,
               PackageOp = 0x12, ExtendedPrefix = 0x5B, DeviceOp = 0x82, Root = 0x5C;

    readonly List<byte> _bytes = [];

    public byte[] ToArray() => [.. _bytes];

    /// <param name="path">A four-letter name, or one preceded by a backslash for the root.</param>
    public AmlWriter Scope(string path, Action<AmlWriter> contents) =>
        Op(ScopeOp).Sized(body => contents(body.Path(path)));

    public AmlWriter Device(string name, Action<AmlWriter> contents) =>
        Op(ExtendedPrefix).Op(DeviceOp).Sized(body => contents(body.Path(name)));

    /// <summary>Names the one term that <paramref name="value"/> writes.</summary>
    public AmlWriter Name(string path, Action<AmlWriter> value)
    {
        Op(NameOp).Path(path);
        value(this);
        return this;
    }

    public AmlWriter Name(string path, uint value) => Name(path, aml => aml.Integer(value));

    /// <summary>Writes an integer in its shortest form.</summary>
    public AmlWriter Integer(uint value)
    {
        if (value <= 1) return Op((byte)value);                     // ZeroOp, OneOp
        if (value <= byte.MaxValue) return Op(BytePrefix).Op((byte)value);
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return value <= ushort.MaxValue ? Op(WordPrefix).Raw(bytes[..2]) : Op(DWordPrefix).Raw(bytes);
    }

    /// <param name="elements">Each writes one term; at most 255.</param>
    public AmlWriter Package(params Action<AmlWriter>[] elements) => Op(PackageOp).Sized(body =>
    {
        body.Op((byte)elements.Length);
        foreach (Action<AmlWriter> element in elements) element(body);
    });

    public AmlWriter Buffer(byte[] contents) =>
        Op(BufferOp).Sized(body => body.Integer((uint)contents.Length).Raw(contents));

    /// <summary>Writes a plug-and-play identifier: three letters and four hexadecimal digits, compressed to 32
    /// bits.</summary>
    public AmlWriter EisaId(string id)
    {
        int vendor = (id[0] - '@') << 10 | (id[1] - '@') << 5 | (id[2] - '@');
        int product = Convert.ToInt32(id[3..], 16);
        return Op(DWordPrefix).Raw([(byte)(vendor >> 8), (byte)vendor, (byte)(product >> 8), (byte)product]);
    }

    AmlWriter Path(string path)
    {
        if (path[0] == '\\') Op(Root);
        return Raw(Encoding.ASCII.GetBytes(path.TrimStart('\\').PadRight(4, '_')));
    }

    // A length counts its own bytes: one byte up to 63; otherwise the low four bits, then eight more a byte.
    AmlWriter Sized(Action<AmlWriter> contents)
    {
        var body = new AmlWriter();
        contents(body);
        int length = body._bytes.Count + 1;
        if (length < 1 << 6) return Op((byte)length).Raw(body.ToArray());

        int extra = 1;
        while (length + extra >= 1 << (4 + 8 * extra)) extra++;
        length += extra;
        Op((byte)(extra << 6 | length & 0x0F));
        for (int i = 0; i < extra; i++) Op((byte)(length >> (4 + 8 * i)));
        return Raw(body.ToArray());
    }

    AmlWriter Op(byte value)
    {
        _bytes.Add(value);
        return this;
    }

    AmlWriter Raw(ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }
}
