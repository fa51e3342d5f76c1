using System.Globalization;
using System.Text;

namespace VmLab.Machines.Gdb;

/// <summary>A register as gdb knows it.</summary>
/// <param name="Type">A type of gdb's, or one that the feature defines.</param>
public sealed record GdbRegister(string Name, int Bits, string Type, string Feature, string? Group = null)
{
    public int Bytes => Bits / 8;
}

/// <summary>The registers of an x86-64 processor, in the order of their numbers, and the XML that tells gdb of them.</summary>
/// <remarks>
/// The numbers up to mxcsr are those that gdb takes for amd64 without a description; control registers bear QEMU's names.
/// Source: Debugging with GDB, appendix G "Target Descriptions", G.5.5 "i386 Features".
/// </remarks>
public static class TargetDescription
{
    const string Core = "org.gnu.gdb.i386.core", Sse = "org.gnu.gdb.i386.sse", Segments = "org.gnu.gdb.i386.segments",
        System = "org.vmlab.i386.system";

    const string Flags =
        """
        <flags id="i386_eflags" size="4">
        <field name="CF" start="0" end="0"/><field name="" start="1" end="1"/><field name="PF" start="2" end="2"/>
        <field name="AF" start="4" end="4"/><field name="ZF" start="6" end="6"/><field name="SF" start="7" end="7"/>
        <field name="TF" start="8" end="8"/><field name="IF" start="9" end="9"/><field name="DF" start="10" end="10"/>
        <field name="OF" start="11" end="11"/><field name="NT" start="14" end="14"/><field name="RF" start="16" end="16"/>
        <field name="VM" start="17" end="17"/><field name="AC" start="18" end="18"/><field name="VIF" start="19" end="19"/>
        <field name="VIP" start="20" end="20"/><field name="ID" start="21" end="21"/>
        </flags>
        """;

    const string Vectors =
        """
        <vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>
        <vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>
        <vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>
        <union id="vec128">
        <field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/><field name="v16_int8" type="v16i8"/>
        <field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/>
        <field name="uint128" type="uint128"/>
        </union>
        <flags id="i386_mxcsr" size="4">
        <field name="IE" start="0" end="0"/><field name="DE" start="1" end="1"/><field name="ZE" start="2" end="2"/>
        <field name="OE" start="3" end="3"/><field name="UE" start="4" end="4"/><field name="PE" start="5" end="5"/>
        <field name="DAZ" start="6" end="6"/><field name="IM" start="7" end="7"/><field name="DM" start="8" end="8"/>
        <field name="ZM" start="9" end="9"/><field name="OM" start="10" end="10"/><field name="UM" start="11" end="11"/>
        <field name="PM" start="12" end="12"/><field name="FZ" start="15" end="15"/>
        </flags>
        """;

    /// <summary>Numbers of the registers that others ask for.</summary>
    public const int Rbp = 6, Rsp = 7, Rip = 16, Eflags = 17, FirstSegment = 18, FirstFloat = 24, FirstFloatControl = 32, FirstXmm = 40,
        Mxcsr = 56, FsBase = 57, GsBase = 58, KernelGsBase = 59, FirstControl = 60;

    public static IReadOnlyList<GdbRegister> Registers { get; } =
    [
        .. new[] { "rax", "rbx", "rcx", "rdx", "rsi", "rdi" }.Select(Integer),
        new("rbp", 64, "data_ptr", Core),
        new("rsp", 64, "data_ptr", Core),
        .. new[] { "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" }.Select(Integer),
        new("rip", 64, "code_ptr", Core),
        new("eflags", 32, "i386_eflags", Core),
        .. new[] { "cs", "ss", "ds", "es", "fs", "gs" }.Select(name => new GdbRegister(name, 32, "int32", Core)),
        .. Enumerable.Range(0, 8).Select(i => new GdbRegister($"st{i}", 80, "i387_ext", Core)),
        .. new[] { "fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop" }
            .Select(name => new GdbRegister(name, 32, "int", Core, "float")),
        .. Enumerable.Range(0, 16).Select(i => new GdbRegister($"xmm{i}", 128, "vec128", Sse)),
        new("mxcsr", 32, "i386_mxcsr", Sse, "vector"),
        new("fs_base", 64, "int64", Segments),
        new("gs_base", 64, "int64", Segments),
        .. new[] { "k_gs_base", "cr0", "cr2", "cr3", "cr4", "cr8", "efer" }
            .Select(name => new GdbRegister(name, 64, "int64", System, "system")),
    ];

    /// <summary>The bytes of all registers together.</summary>
    public static int TotalBytes { get; } = Registers.Sum(register => register.Bytes);

    /// <summary>What gdb reads as target.xml.</summary>
    public static string Xml { get; } = Write();

    static GdbRegister Integer(string name) => new(name, 64, "int64", Core);

    static string Write()
    {
        var xml = new StringBuilder(
            """<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target><architecture>i386:x86-64</architecture>""");
        foreach (var feature in Registers.GroupBy(register => register.Feature))
        {
            xml.Append(CultureInfo.InvariantCulture, $"<feature name=\"{feature.Key}\">");
            xml.Append(feature.Key switch { Core => Flags, Sse => Vectors, _ => "" });
            foreach (GdbRegister register in feature)
            {
                string group = register.Group is { } name ? $" group=\"{name}\"" : "";
                xml.Append(
                    CultureInfo.InvariantCulture, $"<reg name=\"{register.Name}\" bitsize=\"{register.Bits}\" type=\"{register.Type}\"{group}/>");
            }
            xml.Append("</feature>");
        }
        return xml.Append("</target>").ToString();
    }
}
