// A choice of one value that shows all values: radio buttons in the form of one control.
import { useId } from 'preact/hooks';

interface Props<T extends string> {
  label: string;
  value: T;
  options: readonly T[];
  name: (option: T) => string;
  onChange: (option: T) => void;
}

export function Segments<T extends string>({ label, value, options, name, onChange }: Props<T>) {
  const group = useId();
  return (
    <fieldset class="segments">
      <legend>{label}</legend>
      <div class="segments-options">
        {options.map((option) => (
          <label key={option}>
            <input type="radio" name={group} checked={option === value} onChange={() => onChange(option)} />
            <span>{name(option)}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
