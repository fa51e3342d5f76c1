using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace VmLab;

/// <summary>Faults to inject together: a value that is written as JSON, and read again.</summary>
public sealed record FaultPlan(ImmutableArray<Fault> Faults)
{
    public string ToJson() => JsonSerializer.Serialize(this, FaultJson.Default.FaultPlan);

    /// <exception cref="LabException">The text is no plan.</exception>
    public static FaultPlan FromJson(string json)
    {
        try
        {
            FaultPlan? plan = JsonSerializer.Deserialize(json, FaultJson.Default.FaultPlan);
            if (plan is { Faults.IsDefault: false } && plan.Faults.All(fault => fault is { IsSound: true })) return plan;
        }
        catch (Exception cause) when (cause is JsonException or NotSupportedException)
        {
            throw new LabException($"This is no plan of faults: {cause.Message} ToJson shows what one looks like.", cause);
        }
        throw new LabException("This is no plan of faults: it has no list \"Faults\", or one with a number that no verb of its fault takes. "
            + "ToJson shows what one looks like.");
    }

    public bool Equals(FaultPlan? other) => other is not null && Faults.SequenceEqual(other.Faults);

    public override int GetHashCode() => Faults.Aggregate(0, HashCode.Combine);
}

/// <summary>How plans are written: by generated code, since a program may run without reflection.</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(FaultPlan))]
sealed partial class FaultJson : JsonSerializerContext;
